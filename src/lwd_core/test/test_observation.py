# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from lwd_core.images import encode_jpeg
from lwd_core.observation import ObservationAssembler, ObservationError, ObservationSpec
from lwd_core.robot import CameraSpec, JointSpec, RobotSpec, SpecError

MS = 1_000_000
ROBOT = RobotSpec(
    'r', 'm', tuple(JointSpec(name, -1, 1, 4, 80) for name in 'ab'),
    (CameraSpec('head', 8, 6, 25.0), CameraSpec('wrist', 8, 6, 25.0)), 25.0,
    state_names=('x', 'y'))
STATE = ObservationSpec.for_robot(ROBOT, 'state')
PIXELS = ObservationSpec.for_robot(ROBOT, 'pixels', cameras=['head'])


def image(value, height=6, width=8):
    return np.full((height, width, 3), value, np.uint8)


def state_assembler(*stamps):
    assembler = ObservationAssembler(STATE)
    for stamp in stamps:
        assembler.add_joints(stamp * MS, 'ab', [stamp, -stamp])
        assembler.add_state(stamp * MS, 'xy', [stamp, 0.5])
    return assembler


def test_the_newest_sample_not_later_than_the_tick_is_joined():
    assembler = state_assembler(0, 40, 80)
    seen = assembler.at(79 * MS, 'go')
    assert seen.sources == {'joint_states': 40 * MS, 'state_observation': 40 * MS}
    assert seen.joints.tolist() == [40.0, -40.0] and seen.joints.dtype == np.float32
    assert assembler.at(80 * MS, 'go').joints[0] == 80.0


def test_order_of_arrival_does_not_matter():
    first, second = state_assembler(0, 40, 80), state_assembler(80, 0, 40)
    assert first.at(50 * MS, '').joints.tobytes() == second.at(50 * MS, '').joints.tobytes()


def test_names_are_put_in_the_robots_order():
    assembler = ObservationAssembler(STATE)
    assembler.add_joints(0, ['b', 'extra', 'a'], [2.0, 9.0, 1.0])
    assembler.add_state(0, ['y', 'x'], [4.0, 3.0])
    seen = assembler.at(0, '')
    assert seen.joints.tolist() == [1.0, 2.0] and seen.state.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(('names', 'values', 'needle'), [
    (['a'], [1.0], 'lacks b'), (['a', 'b'], [1.0], '2 names for 1 values'),
    (['a', 'b'], [1.0, float('nan')], 'b is not finite'),
    (['a', 'b'], [float('inf'), 0.0], 'a is not finite'),
])
def test_a_bad_sample_is_refused_by_name_and_changes_nothing(names, values, needle):
    assembler = state_assembler(0)
    with pytest.raises(ObservationError, match=f'joint_states.*{needle}'):
        assembler.add_joints(10 * MS, names, values)
    assert assembler.at(10 * MS, '').sources['joint_states'] == 0


def test_a_missing_or_old_source_is_named_with_age_and_bound():
    assembler = ObservationAssembler(STATE)
    assembler.add_joints(0, 'ab', [0, 0])
    with pytest.raises(ObservationError, match='state_observation: no sample yet'):
        assembler.at(0, '')
    assembler.add_state(0, 'xy', [0, 0])
    with pytest.raises(ObservationError, match=r'joint_states.*0\.101 s old.*bound 0\.1 s'):
        assembler.at(101 * MS, '')
    assert assembler.at(100 * MS, '').stamp_ns == 100 * MS


def test_recorded_sources_force_exactly_those_samples():
    assembler = state_assembler(0, 40, 80)
    forced = {'joint_states': 0, 'state_observation': 40 * MS}
    seen = assembler.at(80 * MS, '', forced)
    assert seen.sources == forced and seen.joints[0] == 0.0 and seen.state[0] == 40.0
    with pytest.raises(ObservationError, match='stamped 7 ns is not there'):
        assembler.at(80 * MS, '', {**forced, 'joint_states': 7})
    with pytest.raises(ObservationError, match='not among the recorded'):
        assembler.at(80 * MS, '', {'joint_states': 0})


def test_samples_that_would_have_been_joined_earlier_are_counted_late():
    assembler = state_assembler(0)
    assembler.at(80 * MS, '')
    for stamp, late in ((90, 0), (40, 1), (-5, 1), (80, 2)):
        assembler.add_joints(stamp * MS, 'ab', [0, 0])
        assert assembler.late == late


def test_images_are_decoded_once_in_rgb_at_the_robots_size():
    assembler = ObservationAssembler(PIXELS)
    assembler.add_joints(0, 'ab', [0, 0])
    red = image(0)
    red[..., 0] = 250
    assembler.add_image('head', 0, encode_jpeg(np.kron(red, np.ones((4, 4, 1), np.uint8)), 95))
    seen = assembler.at(0, '')
    assert seen.images['head'].shape == (6, 8, 3) and seen.state is None
    assert seen.images['head'][..., 0].min() > 200 and seen.images['head'][..., 2].max() < 40
    assert assembler.at(10 * MS, '').images['head'] is seen.images['head']


def test_only_what_the_specification_wants_is_kept():
    assembler = ObservationAssembler(PIXELS)
    assembler.add_image('wrist', 0, b'never looked at')
    assembler.add_state(0, 'zz', [1, 2])
    assembler.add_joints(0, 'ab', [0, 0])
    assembler.add_image('head', 0, image(7))
    assert list(assembler.at(0, '').images) == ['head']


def test_an_undecodable_image_is_an_observation_error_naming_the_camera():
    assembler = ObservationAssembler(PIXELS)
    assembler.add_joints(0, 'ab', [0, 0])
    assembler.add_image('head', 0, b'\xff\xd8 cut off')
    with pytest.raises(ObservationError, match='camera/head.*neither JPEG nor PNG'):
        assembler.at(0, '')


def test_reset_forgets_everything():
    assembler = state_assembler(1000)
    assembler.reset()
    with pytest.raises(ObservationError, match='no sample'):
        assembler.at(1000 * MS, '')


def test_completeness_asks_for_samples_stamped_with_the_tick():
    assembler = state_assembler(0, 40)
    assert assembler.complete(40 * MS) and not assembler.complete(41 * MS)
    assembler.add_joints(80 * MS, 'ab', [0, 0])
    assert not assembler.complete(80 * MS)
    assert assembler.complete(80 * MS, ['joint_states'])


def test_a_live_assembler_keeps_a_bounded_history_and_a_bag_everything():
    live, bag = ObservationAssembler(STATE, history=4), ObservationAssembler(STATE, history=None)
    for assembler in (live, bag):
        for stamp in range(100):
            assembler.add_joints(stamp * MS, 'ab', [stamp, 0])
            assembler.add_state(stamp * MS, 'xy', [stamp, 0])
    assert bag.at(3 * MS, '').joints[0] == 3.0
    with pytest.raises(ObservationError):
        live.at(3 * MS, '')
    assert live.at(97 * MS, '').joints[0] == 97.0


def test_impossible_specifications_are_refused():
    with pytest.raises(SpecError, match='needs camera elbow'):
        ObservationSpec.for_robot(ROBOT, 'pixels', ['elbow'])
    with pytest.raises(SpecError, match='no state_names'):
        ObservationSpec.for_robot(replace(ROBOT, state_names=()), 'state')
    with pytest.raises(SpecError, match="mode: is 'lidar'"):
        ObservationSpec.for_robot(ROBOT, 'lidar')


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=60))
def test_replaying_with_the_recorded_stamps_is_bit_identical_whatever_came_late(events):
    """Live samples arrive late and between ticks; a bag holds them all before the first tick."""
    live, samples, ticks = ObservationAssembler(replace(STATE, max_age={})), [], []
    now = 0
    for step, delay, is_tick in events:
        now += step
        if is_tick:
            try:
                ticks.append(live.at(now, 'go'))
            except ObservationError:
                continue
        else:
            value = np.sin(now + delay)
            live.add_joints(now - delay, 'ab', [value, 1.0])
            live.add_state(now - delay, 'xy', [value, 2.0])
            samples.append((now - delay, value))
    bag = ObservationAssembler(live.spec, history=None)
    for stamp, value in samples:
        bag.add_joints(stamp, 'ab', [value, 1.0])
        bag.add_state(stamp, 'xy', [value, 2.0])
    for seen in ticks:
        again = bag.at(seen.stamp_ns, 'go', seen.sources)
        assert again.joints.tobytes() == seen.joints.tobytes()
        assert again.state.tobytes() == seen.state.tobytes()
