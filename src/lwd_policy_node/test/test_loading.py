# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as the worker loads them: what does not fit is refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from lwd_core.checkpoint import CheckpointContents, CheckpointError, save_checkpoint  # noqa: E402
from lwd_core.flow import make_policy  # noqa: E402
from lwd_core.flow.bundle import pack  # noqa: E402
from lwd_core.flow.trunk import build_trunk  # noqa: E402
from lwd_core.normalization import Normalizer  # noqa: E402
from lwd_core.observation import ObservationSpec  # noqa: E402
from lwd_core.store import FolderStore, StoreAwayError  # noqa: E402
from lwd_policy_node.loading import blank_observation, load, LoadRequest  # noqa: E402

CONFIG = dict(horizon=16, action_dim=3, joint_dim=3, state_dim=2, instruction_dim=8, hidden=16,
              layers=2)


def norms(**sizes):
    rng = np.random.default_rng(0)
    return {name: Normalizer.from_data(rng.normal(size=(50, size)).astype(np.float32)).to_json()
            for name, size in {'action': 3, 'joints': 3, 'state': 2, **sizes}.items()}


def save(tmp_path, robot, step=5, **changes):
    torch.manual_seed(0)
    config = {**CONFIG, **changes.pop('config', {})}
    policy = make_policy(config, norms())
    contents = CheckpointContents(config, policy.state_dict(), norms(), step, robot=robot)
    return save_checkpoint(FolderStore(tmp_path), replace(contents, **changes))


def request(tmp_path, robot, ref, **kwargs):
    return LoadRequest(str(tmp_path), robot, ref.digest, kwargs.pop('uri', ref.uri), **kwargs)


def test_a_good_checkpoint_acts_the_same_after_every_load(tmp_path, robot):
    ref = save(tmp_path, robot)
    first, second = (load(request(tmp_path, robot, ref, uri=uri)) for uri in (ref.uri, ''))
    assert (first.digest, first.step, first.horizon, first.mode) == (ref.digest, 5, 16, 'state')
    seen = blank_observation(ObservationSpec.for_robot(robot, 'state'), robot)
    assert first.policy.act(seen, 7).tobytes() == second.policy.act(seen, 7).tobytes()
    assert first.policy.act(seen, 7).tobytes() != second.policy.act(seen, 8).tobytes()


def test_another_robots_checkpoint_is_refused_by_joint_name(tmp_path, robot):
    ref = save(tmp_path, robot)
    other = replace(robot, joints=(replace(robot.joints[0], name='elbow'), *robot.joints[1:]))
    with pytest.raises(CheckpointError, match='joint|robot'):
        load(request(tmp_path, other, ref))


def test_a_chunk_shorter_than_what_is_executed_is_refused_with_both_numbers(tmp_path, robot):
    ref = save(tmp_path, robot)
    with pytest.raises(CheckpointError, match='chunk length is 16.*32'):
        load(request(tmp_path, robot, ref, min_horizon=32))


def test_another_digest_than_announced_is_refused(tmp_path, robot):
    ref = save(tmp_path, robot)
    with pytest.raises(CheckpointError, match='announced'):
        load(request(tmp_path, robot, replace(ref, digest='0' * 64)))


def test_a_flipped_bit_is_refused(tmp_path, robot):
    ref = save(tmp_path, robot)
    path = tmp_path / ref.uri / 'policy.safetensors'
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged'):
        load(request(tmp_path, robot, ref))


def test_normalisation_of_other_sizes_is_refused(tmp_path, robot):
    with pytest.raises((CheckpointError, ValueError), match='norm|state'):
        load(request(tmp_path, robot, save(tmp_path, robot, normalization=norms(state=5))))


def test_a_policy_that_observes_otherwise_than_this_robot_is_refused(tmp_path, robot):
    ref = save(tmp_path, robot)
    with pytest.raises(CheckpointError, match='observes state'):
        load(request(tmp_path, robot, ref, observation='pixels'))


def test_a_configuration_that_does_not_fit_its_weights_is_refused(tmp_path, robot):
    policy = make_policy({**CONFIG, 'hidden': 32}, norms())
    ref = save(tmp_path, robot, tensors=policy.state_dict())
    with pytest.raises(CheckpointError, match='do not fit'):
        load(request(tmp_path, robot, ref))


def save_pixels(tmp_path, robot, cameras):
    torch.manual_seed(0)
    trunk = build_trunk(dict(outputs=['x', 'y'], cameras=cameras, encoders=[0] * len(cameras),
                             image_size=8, joint_dim=3, channels=4, hidden=8))
    stats = norms(features=2)
    del stats['state']
    policy = make_policy({**CONFIG, 'state_dim': 0, 'feature_dim': 2}, stats)
    config, tensors = pack(policy, trunk)
    return save_checkpoint(FolderStore(tmp_path), CheckpointContents(
        config, tensors, stats, 5, robot=robot))


def test_a_pixels_policy_brings_its_trunk_and_says_what_it_sees(tmp_path, robot):
    loaded = load(request(tmp_path, robot, save_pixels(tmp_path, robot, ['head'])))
    assert (loaded.mode, loaded.cameras, loaded.image_size) == ('pixels', ('head',), (8, 8))
    spec = ObservationSpec.for_robot(robot, 'pixels', loaded.cameras, loaded.image_size)
    seen = blank_observation(spec, robot)
    bright = replace(seen, images={'head': np.full((8, 8, 3), 255, np.uint8)})
    assert loaded.policy.act(seen, 7).shape == (16, 3)
    assert loaded.policy.act(seen, 7).tobytes() != loaded.policy.act(bright, 7).tobytes()


def test_a_policy_that_needs_a_camera_this_robot_lacks_is_refused_by_name(tmp_path, robot):
    ref = save_pixels(tmp_path, robot, ['head', 'elbow'])
    with pytest.raises(CheckpointError, match='needs camera elbow.*has head'):
        load(request(tmp_path, robot, ref))


def test_a_missing_store_is_no_verdict_on_the_checkpoint(tmp_path, robot):
    with pytest.raises(StoreAwayError, match='does not answer.*does not exist'):
        load(LoadRequest(str(tmp_path / 'gone'), robot, 'a' * 64))


def test_weights_that_give_nan_are_refused_at_warm_up(tmp_path, robot):
    huge = {name: torch.full_like(tensor, 3e38)
            for name, tensor in make_policy(CONFIG, norms()).state_dict().items()}
    ref = save(tmp_path, robot, tensors=huge)
    with pytest.raises(CheckpointError, match='not finite'):
        load(request(tmp_path, robot, ref))


def test_a_scheduler_that_continues_chunks_needs_a_checkpoint_that_can(tmp_path, robot):
    ref = save(tmp_path, robot)
    assert load(request(tmp_path, robot, ref, continuation='guided')).horizon == 16
    with pytest.raises(CheckpointError, match='max_delay is 0.*use scheduler rtc'):
        load(request(tmp_path, robot, ref, continuation='trained'))
    able = save(tmp_path, robot, step=6, config={'max_delay': 4})
    assert load(request(tmp_path, robot, able, continuation='trained')).step == 6
