# SPDX-License-Identifier: Apache-2.0
"""What is learned from is what the policy gets on the robot, bit for bit."""

from pathlib import Path
from types import SimpleNamespace

from learner_fakes import episode, episode_data
import numpy as np
import pytest

from lwd_core.episode import read_episode
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.flow.inputs import observation_arrays
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_learner.config import ReplayConfig
from lwd_learner.convert import check, convert, from_rollout, how_it_ended, RejectedEpisode

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')


class MeanColour:
    """A trunk of 3 features a camera."""

    def features(self, images, joints):
        return np.concatenate([images[name].mean((0, 1)) for name in sorted(images)])


def jpeg(camera: str, tick: int) -> bytes:
    import cv2
    image = np.full((96, 96, 3), 10 * tick % 256, np.uint8)
    return bytes(cv2.imencode('.jpg', image)[1].tobytes())


@pytest.mark.parametrize('mode', ['state', 'pixels'])
def test_rows_equal_the_policy_inputs_of_the_same_tick(tmp_path, mode):
    write_episode(tmp_path / 'e', ROBOT, Recipe(ticks=12, human=(4, 8), jpeg=jpeg),
                  Definitions([ROOT / 'src/lwd_msgs']))
    data = read_episode(tmp_path / 'e', ROBOT, ObservationSpec.for_robot(ROBOT, mode))
    trunk = MeanColour() if mode == 'pixels' else None
    arrays = convert(data, 'digest', ReplayConfig(), 64, trunk, None)
    config = {'joint_dim': 14, 'instruction_dim': 64,
              'state_dim': len(ROBOT.state_names) if mode == 'state' else 0,
              'feature_dim': 9 if mode == 'pixels' else 0}
    for tick in range(12):
        expected = observation_arrays(data.observation(tick), config, trunk)
        assert np.array_equal(expected.pop('instruction'), arrays.instruction)
        assert set(expected) == set(arrays.inputs)
        for name, row in expected.items():
            assert np.array_equal(row, arrays.inputs[name][tick]), (name, tick)


@pytest.mark.parametrize(('success', 'stop', 'config', 'expected'), [
    (True, 'time_limit', {}, (True, True)),
    (False, 'labelled', {}, (False, True)),
    (False, 'time_limit', {}, (False, True)),
    (False, 'labelled', {'failure_terminal': False}, (False, False)),
    (False, 'time_limit', {'time_limit_terminal': False}, (False, False)),
    (False, 'time_limit', {'failure_terminal': False}, (False, True)),
])
def test_how_an_episode_ended_follows_label_and_configuration(success, stop, config, expected):
    data = episode_data(success=success, stop_reason=stop)
    assert how_it_ended(data, ReplayConfig(**config)) == expected


def test_useless_arrays_are_rejected_and_waiting_is_named():
    still = episode(source=np.zeros(20, np.uint8))
    assert check(still) == ('held for 100% of its ticks',)
    assert check(episode()) == ()
    with pytest.raises(RejectedEpisode, match='constant'):
        check(episode(actions=np.ones((20, 3), np.float32)))
    with pytest.raises(RejectedEpisode, match='20 ticks, replay.min_ticks is 30'):
        check(episode(), 30)


def test_episode_made_in_process_is_the_same_kind_of_arrays():
    wave = np.sin(np.arange(6))[:, None]
    rollout = SimpleNamespace(
        task='place', instruction='put it down', joints=wave, state=wave, actions=wave,
        source=[2] * 6, success=False)
    arrays = from_rollout(rollout, 'r1', 'online', ReplayConfig(time_limit_terminal=False))
    assert (arrays.success, arrays.terminal, arrays.origin) == (False, False, 'online')
    assert arrays.inputs['state'].dtype == arrays.actions.dtype == np.float32
