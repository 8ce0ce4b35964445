# SPDX-License-Identifier: Apache-2.0
"""The cell as MJCF text, built from primitives: table, two-level shelf, two arms, items, cameras.

x points right, y away from the robot, z up; metres. The dark table and the overhead head camera
are there for policies that see: contrast and framing decide what pixels can teach in minutes.
"""
from lwd_sim.names import ARMS, JAW_FORCE, TIMESTEP
from lwd_sim.props import GRIP, Item, item_body

PAD = 'type="box" size=".014 .004 .016" condim="4" friction="1.5 .02 .001" rgba=".15 .15 .15 1"'
SURFACES = ('table', 'shelf0', 'shelf1', 'cabinet', 'counter')
# joint: (servo stiffness [Nm/rad], torque cap [Nm]); lags a constant speed by about 1.6 ticks
SERVOS = {'waist': (300, 60), 'shoulder': (400, 80), 'elbow': (300, 60),
          'forearm_roll': (100, 20), 'wrist_angle': (100, 20), 'wrist_rotate': (60, 15)}
ARM_COLOURS = {'left': '.8 .3 .2 1', 'right': '.2 .4 .8 1'}
BASE_X = {'left': -0.22, 'right': 0.22}
# Furniture beside the table. The cabinet's roof is of glass, so that the head camera sees inside.
FIXTURES = {
    'shelves': f'''<geom name="shelf0" type="box" size=".4 .055 .03" pos="0 .46 .03" \
rgba=".25 .3 .4 1" {GRIP}/>
<geom name="shelf1" type="box" size=".4 .05 .08" pos="0 .57 .08" rgba=".5 .5 .58 1" {GRIP}/>
''',
    'cabinet': f'''<geom name="cabinet" type="box" size=".11 .09 .03" pos=".06 .49 .03" \
rgba=".25 .3 .4 1" {GRIP}/>
<geom type="box" size=".005 .09 .105" pos="-.045 .49 .165" rgba=".5 .5 .58 1" {GRIP}/>
<geom type="box" size=".005 .09 .105" pos=".165 .49 .165" rgba=".5 .5 .58 1" {GRIP}/>
<geom type="box" size=".11 .005 .105" pos=".06 .585 .165" rgba=".5 .5 .58 1" {GRIP}/>
<geom type="box" size=".11 .095 .005" pos=".06 .495 .275" rgba=".8 .9 1 .15" {GRIP}/>
''',
    'counter': f'''<geom name="counter" type="box" size=".3 .11 .02" pos="0 .54 .02" \
rgba=".25 .3 .4 1" {GRIP}/>
''',
}


def build_scene(items: tuple[Item, ...], shadows: bool = False,
                fixtures: tuple[str, ...] = ('shelves',), sleep: bool = False) -> str:
    """Return the MJCF text of the cell with these items and this furniture beside the table.

    `sleep`: what lies still costs nothing until it is touched; with many items 3 to 5 times faster.
    """
    bodies = ''.join(item_body(item) for item in items)
    arms = ''.join(_arm(arm) for arm in ARMS)
    servos = ''.join(_servos(arm) for arm in ARMS)
    return f'''<mujoco model="lwd_cell"><compiler angle="radian"/>
<option timestep="{TIMESTEP}" cone="elliptic" impratio="10" integrator="implicitfast"\
{'><flag sleep="enable"/></option>' if sleep else '/>'}
<default><joint armature=".05" damping="1"/></default>
{_visual(shadows)}
<worldbody>{_furniture(shadows, fixtures)}{arms}{bodies}</worldbody>
<actuator>{servos}</actuator></mujoco>'''


def _visual(shadows: bool) -> str:
    # Shadows and multisampling cost 40 times the rest on a software renderer.
    quality = 'shadowsize="1024" offsamples="4"' if shadows else 'shadowsize="0" offsamples="0"'
    return (f'<visual><quality {quality}/><map znear=".02"/>'
            '<global offwidth="640" offheight="480"/>'
            '<headlight ambient=".35 .35 .35" diffuse=".3 .3 .3"/></visual>')


def _furniture(shadows: bool, fixtures: tuple[str, ...]) -> str:
    return f'''<light pos="0 .3 2" dir="0 0 -1" castshadow="{str(shadows).lower()}"/>
<camera name="head" pos="0 .25 .75" xyaxes="1 0 0 0 .97 .24" fovy="62"/>
<geom name="table" type="box" size=".6 .4 .02" pos="0 .4 -.02" rgba=".3 .25 .2 1" {GRIP}/>
{''.join(FIXTURES[name] for name in fixtures)}{_panes()}'''


def _panes() -> str:
    """Return invisible panes around the table: what falls over stays in the cell."""
    panes = (('.01 .4 .2', '-.6 .4 .2'), ('.01 .4 .2', '.6 .4 .2'), ('.6 .01 .2', '0 .8 .2'),
             ('.6 .01 .05', '0 0 .05'))
    return ''.join(f'<geom type="box" size="{size}" pos="{pos}" rgba="0 0 0 0" {GRIP}/>'
                   for size, pos in panes)


def _arm(arm: str) -> str:
    """Return one arm: six links, gripper with wrist camera, two fingers."""
    look = f'rgba="{ARM_COLOURS[arm]}" contype="0" conaffinity="0"'
    return f'''<body name="{arm}/base" pos="{BASE_X[arm]} -.12 .2" quat=".70710678 0 0 .70710678">
<geom type="cylinder" size=".06 .1" pos="0 0 -.1" {look}/>
<geom type="cylinder" size=".05 .04" pos="0 0 .04" {look}/>
{_link(arm, 'waist', '0 0 .079', '0 0 1', '-3.1 3.1', .8, '0 0 0', '.002 .002 .002', '')}
{_link(arm, 'shoulder', '0 0 .048', '0 1 0', '-1.85 1.26', .8, '0 0 .2', '.009 .009 .001',
       f'<geom type="capsule" fromto="0 0 0 .02 0 .3" size=".03" {look}/>'
       f'<geom type="capsule" fromto=".02 0 .3 .06 0 .3" size=".03" {look}/>')}
{_link(arm, 'elbow', '.05955 0 .3', '0 1 0', '-1.76 1.6', .32, '.1 0 0', '.0015 .0015 .0003',
       f'<geom type="capsule" fromto="0 0 0 .2 0 0" size=".025" {look}/>')}
{_link(arm, 'forearm_roll', '.2 0 0', '1 0 0', '-2 2', .41, '.05 0 0', '.0006 .0006 .0002',
       f'<geom type="capsule" fromto="0 0 0 .1 0 0" size=".022" {look}/>')}
{_link(arm, 'wrist_angle', '.1 0 0', '0 1 0', '-1.86 2.23', .12, '.04 0 0', '.0001 .0001 .0001',
       f'<geom type="capsule" fromto="0 0 0 .05 0 0" size=".02" {look}/>')}
{_link(arm, 'wrist_rotate', '.0697 0 0', '1 0 0', '-2 2', .25, '.04 0 0',
       '.0007 .0006 .0005', f'<geom type="box" size=".035 .05 .02" pos=".02 0 0" {look}/>'
       f'<camera name="{arm}_wrist" pos="-.04 0 .09" xyaxes="0 -1 0 .35 0 .94" fovy="70"/>')}
{_finger(arm, 'left_finger', .004, '.004 .055', look)}
{_finger(arm, 'right_finger', -.004, '-.055 -.004', look)}
</body></body></body></body></body></body></body>'''


def _link(arm: str, joint: str, pos: str, axis: str, limits: str, mass: float, centre: str,
          inertia: str, geoms: str) -> str:
    """Return one link, its body left open for what hangs on it."""
    body = f'{arm}/gripper' if joint == 'wrist_rotate' else f'{arm}/{joint}_link'
    return (f'<body name="{body}" pos="{pos}" gravcomp="1">'
            f'<inertial pos="{centre}" mass="{mass}" diaginertia="{inertia}"/>'
            f'<joint name="{arm}/{joint}" axis="{axis}" range="{limits}"/>{geoms}')


def _finger(arm: str, name: str, y: float, limits: str, look: str) -> str:
    return (f'<body name="{arm}/{name}" pos=".0687 0 0" gravcomp="1">'
            '<inertial pos=".02 0 0" mass=".035" diaginertia=".00003 .00003 .00003"/>'
            f'<joint name="{arm}/{name}" type="slide" axis="0 1 0" range="{limits}" damping="5"/>'
            f'<geom type="box" size=".035 .004 .008" pos=".02 {y} 0" {look}/>'
            f'<geom name="{arm}/{name}_pad" pos=".066 {y} 0" {PAD}/></body>')


def _servos(arm: str) -> str:
    joints = ''.join(
        f'<position name="{arm}/{joint}" joint="{arm}/{joint}" kp="{kp}" dampratio="1" '
        f'forcerange="-{cap} {cap}"/>' for joint, (kp, cap) in SERVOS.items())
    jaw = f'kp="600" forcerange="-{JAW_FORCE} {JAW_FORCE}"'
    return (f'{joints}<position name="{arm}/left_finger" joint="{arm}/left_finger" '
            f'ctrlrange="0 .055" {jaw}/><position name="{arm}/right_finger" '
            f'joint="{arm}/right_finger" ctrlrange="-.055 0" {jaw}/>')
