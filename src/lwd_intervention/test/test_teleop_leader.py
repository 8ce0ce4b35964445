# SPDX-License-Identifier: Apache-2.0
"""Leader arms: aligning by clutch or slow match, bounded steps, losses."""

import numpy as np
import pytest
from teleop_fixtures import HOME, PERIOD, robot

from lwd_core.spec import SpecError
from lwd_intervention.teleop.leader import LeaderConfig, LeaderSource, load_leader

DT = PERIOD / 1e9
HELD = {'left': True, 'right': True}


def leader(**config):
    spec = robot()
    return LeaderSource(spec, load_leader('', spec), ('left', 'right'), LeaderConfig(**config))


def put(source, positions, stamp=0):
    source.on_leader(robot().joint_names, positions, stamp)


def run(source, ticks, held=HELD):
    steps = [source.step(k, held, None) for k in range(ticks)]
    return steps, np.array([step.positions for step in steps])


def test_clutch_follows_the_leaders_motion_from_where_the_robot_stands():
    source = leader()
    put(source, HOME + [0.5, 0.0, 0.0, 0.0])
    source.begin(HOME)
    steps, positions = run(source, 3)
    assert np.allclose(positions, HOME) and steps[0].aligned, 'gripping moves nothing'
    put(source, HOME + [0.6, 0.0, 0.0, 0.0])
    _, positions = run(source, 10)
    assert positions[-1] == pytest.approx(HOME + [0.1, 0.0, 0.0, 0.0])


def test_a_jaw_is_absolute_even_with_a_clutch():
    source = leader()
    put(source, HOME + [0.5, -0.4, 0.0, 0.0])
    source.begin(HOME)
    _, positions = run(source, 20)
    assert positions[-1][1] == pytest.approx(HOME[1] - 0.4)


def test_match_moves_slowly_to_the_leader_and_then_follows_one_to_one():
    source = leader(align='match', align_speed=0.4)
    put(source, HOME + [0.8, 0.0, 0.0, 0.0])
    source.begin(HOME)
    steps, positions = run(source, 60)
    aligned = [step.aligned for step in steps]
    ticks = aligned.index(True)
    assert not aligned[0] and ticks == pytest.approx((0.8 - 0.05) / (0.4 * DT), abs=2)
    moved = np.abs(np.diff(positions[:ticks, 0]))
    assert moved.max() <= 0.4 * DT + 1e-9, 'faster than the alignment speed'
    assert positions[-1][0] == pytest.approx(HOME[0] + 0.8)
    put(source, HOME + [0.9, 0.0, 0.0, 0.0])
    assert source.step(0, HELD, None).positions[0] == pytest.approx(HOME[0] + 0.9)


def test_a_leader_too_far_off_is_not_run_after():
    source = leader(align='match', max_mismatch=0.5)
    put(source, HOME + [0.8, 0.0, 0.0, 0.0])
    source.begin(HOME)
    steps, positions = run(source, 20)
    assert np.array_equal(positions[-1], HOME)
    assert 'left/elbow' in steps[-1].reason and 'within 0.5' in steps[-1].reason
    assert steps[-1].limit_scale['left'] == 0.0 and not steps[-1].aligned


def test_a_jump_of_the_leader_is_followed_at_bounded_speed_and_said():
    source = leader()
    put(source, HOME)
    source.begin(HOME)
    run(source, 2)
    put(source, HOME + [0.9, 0.0, 0.0, 0.0])
    steps, positions = run(source, 30)
    assert np.abs(np.diff(positions[:, 0])).max() <= 0.8 * 4.0 * DT + 1e-9
    assert steps[0].limit_scale['left'] < 0.2 and 'speed limit' in steps[0].reason
    assert positions[-1][0] == pytest.approx(1.0)


def test_an_arm_whose_deadman_is_not_held_stands():
    source = leader()
    put(source, HOME)
    source.begin(HOME)
    put(source, HOME + 0.1)
    _, positions = run(source, 10, {'left': True, 'right': False})
    assert np.array_equal(positions[-1][2:], HOME[2:]) and positions[-1][0] > HOME[0]


@pytest.mark.parametrize(('names', 'positions', 'words'), [
    (('left/elbow',), (0.0,), 'lacks joint left/jaw'),
    (robot().joint_names, (0.0, np.nan, 0.0, 0.0), 'left/jaw is not finite')])
def test_a_leader_that_is_out_of_order_is_not_trusted(names, positions, words):
    source = leader()
    assert 'no joint state' in source.trouble(0)
    put(source, HOME)
    assert source.trouble(0) == ''
    source.on_leader(names, positions, 1)
    assert words in source.trouble(1)


def test_a_silent_leader_is_not_trusted():
    source = leader()
    put(source, HOME, stamp=10**9)
    assert source.trouble(10**9 + 149_000_000) == ''
    assert 'silent for 0.16 s' in source.trouble(10**9 + 160_000_000)


def test_a_leader_file_maps_names_signs_and_offsets(tmp_path):
    file = tmp_path / 'leader.yaml'
    file.write_text('joints:\n  left/elbow: {name: l0, scale: -2.0, offset: 0.1}\n')
    spec = robot()
    source = LeaderSource(spec, load_leader(str(file), spec), ('left', 'right'))
    source.on_leader(['l0'], [0.1], 0)
    source.begin(HOME)
    source.on_leader(['l0'], [0.2], 0)
    assert run(source, 10)[1][-1] == pytest.approx(HOME + [-0.2, 0.0, 0.0, 0.0])
    file.write_text('joints:\n  arm/elbow: {name: l0}\n')
    with pytest.raises(SpecError, match="'arm/elbow'; robot 'toy' has left/elbow"):
        load_leader(str(file), spec)
