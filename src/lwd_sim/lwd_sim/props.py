# SPDX-License-Identifier: Apache-2.0
"""The things of a scene as MJCF: groceries, crates, tubs, lids, covers and a hinged door."""
from dataclasses import dataclass

import numpy as np

GRIP = 'condim="4" friction="1 .01 .0005"'
HANDLE_HALF_WIDTH = 0.012      # m
HANDLE_REACH = 0.03            # m from the crate's wall to the handle's middle
WALL = 0.004                   # m, half the thickness of a crate's walls
KNOB_HALF_HEIGHT = 0.022       # m
KNOBBED = ('lid', 'cover')
HOLLOW = ('crate', 'tub', 'cover')
# The door: where its handle is while it is closed, and its hinge seen from there [m].
DOOR_HANDLE = np.array([-.015, .356, .165])
DOOR_HINGE = np.array([.18, .035, 0.])
DOOR_WIDTH = 0.1               # m, half
DOOR_FRICTION = 0.12           # Nm: it stays where it is left


@dataclass(frozen=True)
class Item:
    """A thing to handle. `size`: MuJoCo half sizes [m].

    'crate': an open box with two handles, 'tub': without; 'lid': a plate with a knob, 'cover': a
    box upside down with a knob; 'door': its vertical handle.
    """

    name: str
    kind: str                  # 'box', 'cylinder', 'crate', 'tub', 'lid', 'cover' or 'door'
    size: tuple[float, ...]
    colour: str
    mass: float = 0.12         # kg

    @property
    def half_sizes(self) -> tuple[float, float, float]:
        """Return half the extent along the item's own x, y, z [m], without handle or knob."""
        if self.kind == 'cylinder':
            radius, half_height = self.size
            return radius, radius, half_height
        wall = WALL if self.kind in HOLLOW else 0.0
        return self.size[0] + wall, self.size[1] + wall, self.size[2] + wall

    @property
    def knob_height(self) -> float:
        """Return the height [m] of the knob's middle above the centre; 0 without a knob."""
        return self.half_sizes[2] + KNOB_HALF_HEIGHT if self.kind in KNOBBED else 0.0

    @property
    def floor(self) -> float:
        """Return the height [m] of an open box's floor above its centre (negative)."""
        return WALL - self.size[2]


ITEMS = {item.name: item for item in (
    Item('milk', 'box', (.022, .022, .045), '1 1 1 1'),
    Item('soup', 'cylinder', (.024, .035), '1 .2 .1 1'),
    Item('cereal', 'box', (.018, .028, .05), '.9 .7 .1 1'),
    Item('tea', 'box', (.022, .022, .03), '.1 .6 .2 1'),
    Item('pasta', 'box', (.018, .018, .08), '.2 .9 .9 1'),
    Item('crate', 'crate', (.07, .05, .025), '.7 .5 .25 1'),
    Item('jam', 'cylinder', (.022, .028), '.6 .1 .6 1'),
    Item('coffee', 'box', (.02, .02, .035), '.95 .5 .1 1'),
    Item('beans', 'cylinder', (.022, .032), '.2 .45 1 1'),
    Item('door', 'door', (.01, .01, .03), '.85 .85 .3 1', .4),
    Item('basket', 'crate', (.095, .08, .03), '.75 .55 .3 1', .6),
    Item('tub', 'tub', (.1, .06, .03), '.45 .6 .8 1', .5),
    Item('lid', 'lid', (.108, .068, .004), '.75 .85 .95 1', .1),
    Item('lemon', 'box', (.016, .016, .02), '1 .9 .1 1', .06),
    Item('lime', 'cylinder', (.017, .02), '.5 .9 .2 1', .06),
    Item('plum', 'box', (.016, .016, .02), '.5 .2 .7 1', .06),
    Item('tray', 'crate', (.125, .08, .012), '.55 .4 .3 1', .6),
    Item('bun', 'cylinder', (.02, .018), '.9 .65 .3 1', .06),
    Item('cup', 'cylinder', (.02, .03), '.95 .95 1 1', .08),
    Item('jar', 'box', (.018, .018, .028), '.9 .2 .4 1', .08),
    Item('dome', 'cover', (.034, .034, .024), '.8 .85 .9 1', .08),
)}


def item_body(item: Item) -> str:
    """Return the item's body."""
    if item.kind == 'door':
        return _door(item)
    if item.kind in ('box', 'cylinder'):
        geoms = (f'<geom type="{item.kind}" size="{" ".join(map(str, item.size))}" '
                 f'rgba="{item.colour}" {GRIP} mass="{item.mass}"/>')
    else:
        geoms = {'crate': _crate, 'tub': _tub, 'lid': _lid, 'cover': _cover}[item.kind](item)
    return f'<body name="{item.name}" pos="0 0 -1"><freejoint/>{geoms}</body>'


def _crate(item: Item) -> str:
    """Return an open box of five walls with a handle on either side in x."""
    sx, sy, sz = item.size
    out = _tub(item)
    width = HANDLE_HALF_WIDTH
    for x in (-(sx + HANDLE_REACH), sx + HANDLE_REACH):
        out += (f'<geom type="box" size="{width} {width} .03" pos="{x} 0 {sz + .03}" '
                f'rgba="1 1 0 1" {GRIP} mass="{item.mass / 8}"/>'
                f'<geom type="box" size=".02 .012 .006" pos="{x * .9} 0 {sz}" rgba="1 1 0 1" '
                f'{GRIP} mass=".005"/>')
    return out


def _tub(item: Item, bottom: float = -1.0) -> str:
    """Return an open box of five walls; `bottom` 1.0 turns it upside down."""
    sx, sy, sz = item.size
    walls = ((sx, sy, .004, 0, 0, -sz if bottom < 0 else sz), (sx, .004, sz, 0, sy, 0),
             (sx, .004, sz, 0, -sy, 0), (.004, sy, sz, sx, 0, 0), (.004, sy, sz, -sx, 0, 0))
    return ''.join(f'<geom type="box" size="{a} {b} {c}" pos="{x} {y} {z}" rgba="{item.colour}" '
                   f'{GRIP} mass="{item.mass / 8}"/>' for a, b, c, x, y, z in walls)


def _lid(item: Item) -> str:
    sx, sy, sz = item.size
    return (f'<geom type="box" size="{sx} {sy} {sz}" rgba="{item.colour}" {GRIP} '
            f'mass="{item.mass * .8}"/>{_knob(item)}')


def _cover(item: Item) -> str:
    return _tub(item, bottom=1.0) + _knob(item)


def _knob(item: Item) -> str:
    height = item.knob_height
    width = HANDLE_HALF_WIDTH
    return (f'<geom type="box" size="{width} {width} {KNOB_HALF_HEIGHT}" pos="0 0 {height}" '
            f'rgba="1 1 0 1" {GRIP} mass="{item.mass * .2}"/>')


def _door(item: Item) -> str:
    """Return a leaf on a vertical hinge; the body's frame is that of the handle."""
    radius, _, half = item.size
    x, y, z = DOOR_HANDLE
    hinge_x, hinge_y, _ = DOOR_HINGE
    stalks = ''.join(
        f'<geom type="box" size=".005 .018 .005" pos="0 .018 {height}" rgba="{item.colour}" '
        f'contype="0" conaffinity="0" mass=".005"/>' for height in (-half, half))
    return (f'<body name="{item.name}" pos="{x} {y} {z}">'
            f'<joint name="{item.name}" type="hinge" axis="0 0 1" pos="{hinge_x} {hinge_y} 0" '
            f'range="0 1.9" limited="true" damping=".05" armature=".004" '
            f'frictionloss="{DOOR_FRICTION}"/>'
            f'<geom type="box" size="{DOOR_WIDTH} .004 .095" '
            f'pos="{hinge_x - DOOR_WIDTH} {hinge_y} 0" rgba=".7 .8 .9 1" {GRIP} '
            f'mass="{item.mass}"/>'
            f'<geom type="cylinder" size="{radius} {half}" rgba="1 1 0 1" {GRIP} mass=".02"/>'
            f'{stalks}</body>')


def handle_at(angle: float) -> tuple[float, float, float]:
    """Return where the door's handle is [m] with the door open by `angle` [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    x, y, _ = -DOOR_HINGE
    hinge = DOOR_HANDLE + DOOR_HINGE
    return (float(hinge[0] + c * x - s * y), float(hinge[1] + s * x + c * y),
            float(DOOR_HANDLE[2]))
