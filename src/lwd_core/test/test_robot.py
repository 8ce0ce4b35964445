# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lwd_core.robot import RobotSpec, SpecError
from lwd_core.workspace import WorkspaceSpec

SIM = Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml'


def joint(name='a', **changes):
    return {'name': name, 'lower': -1.0, 'upper': 1.0, 'velocity': 4.0, 'acceleration': 80.0,
            **changes}


def camera(name='head', **changes):
    return {'name': name, 'width': 96, 'height': 96, 'rate': 25.0, **changes}


def data(**changes):
    return {'name': 'r', 'model': 'm', 'joints': [joint('a'), joint('b')],
            'cameras': [camera()], 'control_rate': 25.0, **changes}


BAD = [
    ({'joints': [joint(lower=1.0, upper=-1.0)]}, [r'joints\[0\] \(a\): lower', '1', 'below upper']),
    ({'joints': [joint(), joint()]}, ["joints: 'a' is given twice"]),
    ({'joints': []}, ['joints', 'at least one']),
    ({'joints': [joint(velocity=0)]}, ['velocity: is 0', 'above 0']),
    ({'joints': [joint(acceleration=-3)]}, ['acceleration: is -3', 'above 0']),
    ({'joints': [joint(lower=float('nan'))]}, ['lower: is nan', 'finite']),
    ({'joints': [joint(lower='low')]}, ["lower: is 'low'", 'finite number']),
    ({'joints': [joint(speed=1)]}, [r"unknown key 'speed'", 'known are', 'velocity']),
    ({'joints': [joint('Left Arm')]}, ["name: is 'Left Arm'", 'lower case']),
    ({'joints': [{'name': 'a'}]}, ['lower: is missing']),
    ({'joints': ['a']}, [r"joints\[0\]: is 'a'", 'mapping']),
    ({'control_rate': -25.0}, ['control_rate: is -25.0', 'above 0 and at most 1000']),
    ({'control_rate': True}, ['control_rate: is True']),
    ({'cameras': [camera(width=0)]}, [r'cameras\[0\] \(head\): width: is 0', 'from 1 to 4096']),
    ({'cameras': [camera(), camera()]}, ["cameras: 'head' is given twice"]),
    ({'command_interface': 'velocity'}, ["command_interface: is 'velocity'", 'forward_command']),
    ({'home': {'a': 0.0, 'c': 0.0}}, ["home: has joint 'c'", 'joints are a, b']),
    ({'home': {'a': 0.0}}, ['home: lacks joint b']),
    ({'home': [0.0, 3.0]}, ['home: b: is 3', 'from -1 to 1']),
    ({'home': [0.0]}, ['must give 2 joint positions']),
    ({'max_observation_age': {'lidar': 1.0}}, ['lidar: is no source', 'joint_states']),
    ({'max_observation_age': {'camera': 0}}, ['camera: is 0', 'above 0']),
    ({'state_names': ['x', 'x']}, ["state_names: 'x' is given twice"]),
    ({'colour': 'red'}, ["unknown key 'colour'"]),
]


@pytest.mark.parametrize(('changes', 'needles'), BAD)
def test_a_wrong_robot_file_is_refused_with_file_key_value_and_bound(tmp_path, changes, needles):
    path = tmp_path / 'robot.yaml'
    path.write_text(yaml.safe_dump(data(**changes)))
    for needle in [str(path).replace('/', r'\/'), *needles]:
        with pytest.raises(SpecError, match=needle):
            RobotSpec.from_yaml(path)


def test_missing_cameras_and_broken_files_are_refused(tmp_path):
    without = data()
    del without['cameras']
    path = tmp_path / 'robot.yaml'
    for text, needle in ((yaml.safe_dump(without), 'cameras: is missing'), ('[1, 2]', 'mapping'),
                         ('a: [', 'not YAML'), ('name: a\nname: b', "'name' is given twice")):
        path.write_text(text)
        with pytest.raises(SpecError, match=needle):
            RobotSpec.from_yaml(path)
    with pytest.raises(SpecError, match='cannot be read'):
        RobotSpec.from_yaml(tmp_path / 'none.yaml')


def test_plain_data_round_trips():
    spec = RobotSpec.from_yaml(SIM)
    assert RobotSpec.from_dict(spec.to_dict()) == spec
    assert (spec.action_dim, spec.period_ns, len(spec.home)) == (14, 40_000_000, 14)
    assert spec.joint_names[6] == 'left/jaw' and spec.home[6] == 1.0


def test_the_digest_depends_on_what_a_policy_depends_on_and_on_nothing_else():
    spec = RobotSpec.from_dict(data())
    first = spec.joints[0]
    same = [replace(spec, name='other'), replace(spec, model='x'), replace(spec, home=(0.5, 0.5)),
            replace(spec, joints=(replace(first, velocity=1.0), *spec.joints[1:]))]
    different = [
        replace(spec, joints=spec.joints[::-1]), replace(spec, control_rate=30.0),
        replace(spec, cameras=()), replace(spec, state_names=('x',)),
        replace(spec, joints=(replace(first, upper=2.0), *spec.joints[1:]))]
    assert {other.digest for other in same} == {spec.digest}
    assert len({spec.digest, *(other.digest for other in different)}) == 1 + len(different)


def test_joints_and_cameras_that_are_not_there_are_named():
    spec = RobotSpec.from_dict(data())
    spec.require_joints(['b', 'a', 'c'], 'driver')
    with pytest.raises(SpecError, match='driver: has no joint b.*it has a'):
        spec.require_joints(['a'], 'driver')
    with pytest.raises(SpecError, match='policy: needs camera wrist.*has head'):
        spec.require_cameras(['head', 'wrist'], 'policy')


@pytest.mark.parametrize(('change', 'words'), [
    ({'boxes': [], 'min_distance': None, 'bodies': []}, 'neither boxes nor min_distance'),
    ({'boxes': [{'frame': 'tcp', 'lower': [0, 0, 1], 'upper': [1, 1, 1]}]}, 'must be below upper'),
    ({'boxes': [{'frame': 'tcp', 'lower': [0, 0], 'upper': [1, 1, 1]}]}, r'must be \[x, y, z\]'),
    ({'min_distance': 0.1}, 'must name the two bodies'),
    ({'min_distance': -0.1, 'bodies': ['a', 'b']}, 'above 0'),
    ({'fence': 1}, "unknown key 'fence'"),
])
def test_a_wrong_workspace_is_refused_with_the_key(change, words):
    with pytest.raises(SpecError, match=words):
        WorkspaceSpec.from_dict(change, 'robot: workspace')


def test_jerk_and_workspace_are_optional_and_leave_the_digest_alone():
    data = {'name': 'r', 'model': 'm', 'control_rate': 50.0, 'cameras': [], 'joints': [
        {'name': 'a', 'lower': -1, 'upper': 1, 'velocity': 1, 'acceleration': 10}]}
    plain = RobotSpec.from_dict(data)
    data['joints'][0]['jerk'] = 200.0
    data |= {'mjcf': 'arm.xml', 'workspace': {'boxes': [
        {'frame': 'tcp', 'lower': [0, 0, 0], 'upper': [1, 1, 1]}]}}
    full = RobotSpec.from_dict(data)
    assert plain.digest == full.digest and plain.joints[0].jerk is None
    for spec in (plain, full):
        assert RobotSpec.from_dict(spec.to_dict()) == spec
    data['joints'][0]['jerk'] = 10.0
    with pytest.raises(SpecError, match='jerk: is 10, must be at least 40'):
        RobotSpec.from_dict(data)
    with pytest.raises(SpecError, match='workspace: needs mjcf'):
        RobotSpec.from_dict({**full.to_dict(), 'mjcf': None})
