# SPDX-License-Identifier: Apache-2.0
"""Whatever is announced, the policy that acts goes on, and the reason is named.

Real checkpoints in a real store, loaded by the real worker in a thread; the supervisor decides.
"""

from dataclasses import replace
import json
import pickle
import queue
import shutil

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from lwd_core.checkpoint import CheckpointContents, save_checkpoint  # noqa: E402
from lwd_core.flow import make_policy  # noqa: E402
from lwd_core.normalization import Normalizer  # noqa: E402
from lwd_core.observation import Observation  # noqa: E402
from lwd_core.store import FolderStore  # noqa: E402
from lwd_policy_node.checkpoints import Candidate  # noqa: E402
from lwd_policy_node.inference import InlineInference  # noqa: E402
from lwd_policy_node.loading import LoadRequest  # noqa: E402
from lwd_policy_node.supervisor import RELOAD_PAUSE_S, Supervisor  # noqa: E402
from lwd_policy_node.worker import act_frame  # noqa: E402

PATIENCE_S = 120.0
CONFIG = dict(horizon=8, action_dim=3, joint_dim=3, state_dim=2, instruction_dim=8, hidden=16,
              layers=2)
SEEN = Observation(1, np.array([0.1, 0.2, 0.3], np.float32), {}, np.zeros(2, np.float32), 'go', {})


def norms():
    rng = np.random.default_rng(0)
    return {name: Normalizer.from_data(rng.normal(size=(50, size)).astype(np.float32)).to_json()
            for name, size in {'action': 3, 'joints': 3, 'state': 2}.items()}


class Robot:
    """Store, worker and supervisor of one robot; the clock is the test's."""

    def __init__(self, store, robot):
        self.folder, self.spec, self.now = store, robot, 0.0
        self.replies = queue.Queue()
        self.worker = InlineInference(self.replies.put)
        self.supervisor = Supervisor(
            self.worker, LoadRequest(str(store), robot, flow_steps=2), stall_timeout=60.0,
            wall=lambda: self.now)
        self.table = self.supervisor.checkpoints
        self.supervisor.start()
        self.reply('ready')

    def publish(self, step, seed=None, robot=None, **changes):
        """Write a checkpoint and return where it is."""
        torch.manual_seed(step if seed is None else seed)
        policy = make_policy(CONFIG, norms())
        contents = CheckpointContents(CONFIG, policy.state_dict(), norms(), step,
                                      robot=robot or self.spec)
        return save_checkpoint(FolderStore(self.folder), replace(contents, **changes))

    def announce(self, ref):
        return self.supervisor.want(Candidate(ref.digest, ref.step, ref.uri))

    def reply(self, *kinds):
        """Take replies up to and with one of `kinds`."""
        while True:
            frame = self.replies.get(timeout=PATIENCE_S)
            if frame.kind != 'chunk':
                self.supervisor.on_reply(frame)
            if frame.kind in kinds:
                return frame

    def install(self, ref):
        assert self.announce(ref) == ''
        self.reply('loaded')
        assert self.supervisor.swap()
        return ref

    def act(self):
        self.worker.send(act_frame(1, self.table.active.digest, 7, SEEN))
        return self.reply('chunk', 'failed').arrays['actions'].tobytes()


@pytest.fixture
def robot_with_policy(tmp_path, robot):
    made = Robot(tmp_path / 'store', robot)
    made.install(made.publish(1))
    yield made
    made.worker.close()


def file_of(rig, ref, name='policy.safetensors'):
    return rig.folder / ref.uri / name


def truncated(rig, ref):
    path = file_of(rig, ref)
    path.write_bytes(path.read_bytes()[:-100])


def flipped_bit(rig, ref):
    path = file_of(rig, ref)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def pickled(rig, ref):
    path = file_of(rig, ref)
    path.write_bytes(pickle.dumps({'policy': [0.0] * 100}))


def torch_archive(rig, ref):
    torch.save({'policy': torch.zeros(3)}, file_of(rig, ref))


def no_manifest(rig, ref):
    file_of(rig, ref, 'manifest.json').unlink()


def forged_manifest(rig, ref):
    path = file_of(rig, ref, 'manifest.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), 'step': 99}))


def other_statistics(rig, ref):
    path = file_of(rig, ref, 'normalization.json')
    path.write_text(path.read_text().replace('mean', 'maen', 1))


def no_weights(rig, ref):
    file_of(rig, ref).unlink()


@pytest.mark.parametrize(('damage', 'words'), [
    (truncated, 'cut off'), (flipped_bit, 'damaged: sha256'), (pickled, 'pickle'),
    (torch_archive, 'pickle or torch archive'), (no_manifest, 'manifest.json is missing'),
    (forged_manifest, 'was changed'), (other_statistics, 'normalization.json is damaged'),
    (no_weights, 'policy.safetensors is missing')])
def test_what_is_damaged_in_the_store_is_refused_and_the_old_policy_goes_on(
        robot_with_policy, damage, words):
    rig = robot_with_policy
    before, ref = rig.act(), rig.publish(2)
    damage(rig, ref)
    assert rig.announce(ref) == ''
    assert words in rig.reply('refused').fields['reason']
    assert words in rig.table.newest_reason and rig.table.newest_refused == ref.digest
    assert rig.act() == before and rig.table.pending is None
    assert words in rig.announce(ref)  # not tried again, and says why
    assert rig.table.loading is None
    rig.install(rig.publish(3))
    assert rig.act() != before


def nan_weights():
    weights = make_policy(CONFIG, norms()).state_dict()
    tensors = {key: value.clone() for key, value in weights.items()}
    tensors['encoder.0.weight'][0, 0] = float('nan')
    return tensors


def test_weights_that_are_not_finite_are_refused_before_they_are_written(robot_with_policy):
    with pytest.raises(Exception, match='encoder.0.weight has 1 values that are not finite'):
        robot_with_policy.publish(2, tensors=nan_weights())


def test_weights_that_are_not_finite_are_refused_by_the_robot_too(robot_with_policy, monkeypatch):
    rig = robot_with_policy
    with monkeypatch.context() as patch:  # a learner without the check
        patch.setattr('lwd_core.checkpoint.check_arrays', lambda tensors: None)
        ref = rig.publish(2, tensors=nan_weights())
    rig.announce(ref)
    assert 'encoder.0.weight has 1 values that are not finite' in (
        rig.reply('refused').fields['reason'])


def renamed(robot):
    return replace(robot, joints=(replace(robot.joints[0], name='elbow'), *robot.joints[1:]))


def reordered(robot):
    return replace(robot, joints=(robot.joints[1], robot.joints[0], robot.joints[2]))


def faster(robot):
    return replace(robot, control_rate=50.0)


def narrower(robot):
    return replace(robot, joints=(replace(robot.joints[0], upper=1.0), *robot.joints[1:]))


@pytest.mark.parametrize(('other', 'words'), [
    (renamed, 'joint names differ'), (reordered, 'joint order differs: action 0 is joint_1'),
    (faster, 'made for 50.0 Hz, the robot runs at 25.0 Hz'),
    (narrower, 'limits, cameras or state differ')])
def test_another_robots_checkpoint_is_refused_by_what_differs(robot_with_policy, other, words):
    rig = robot_with_policy
    before, ref = rig.act(), rig.publish(2, robot=other(rig.spec))
    rig.announce(ref)
    assert words in rig.reply('refused').fields['reason']
    assert rig.act() == before


def test_a_store_that_goes_away_is_asked_again_until_it_is_back(robot_with_policy):
    rig = robot_with_policy
    before, ref = rig.act(), rig.publish(2)
    away = rig.folder.with_name('away')
    shutil.move(rig.folder, away)
    rig.announce(ref)
    frame = rig.reply('refused')
    assert frame.fields['away'] and 'store does not answer' in rig.table.newest_reason
    assert rig.act() == before and not rig.folder.exists()
    rig.supervisor.poll(0.0)
    assert rig.table.loading is None  # not before the pause is over
    rig.now += RELOAD_PAUSE_S
    rig.supervisor.poll(0.0)
    assert rig.reply('refused').fields['away']
    shutil.move(away, rig.folder)
    rig.now += RELOAD_PAUSE_S
    rig.supervisor.poll(0.0)
    rig.reply('loaded')
    assert rig.supervisor.swap() and rig.table.active.digest == ref.digest
    assert rig.table.newest_reason == ''


def test_a_store_that_goes_away_amid_the_load_is_no_verdict(robot_with_policy, monkeypatch):
    rig = robot_with_policy
    ref, read = rig.publish(2), FolderStore.get

    def get(self, rel, *args):
        data = read(self, rel, *args)
        if rel.endswith('config.json') and self.path.exists():
            shutil.move(self.path, self.path.with_name('away'))
        return data
    monkeypatch.setattr(FolderStore, 'get', get)
    rig.announce(ref)
    assert rig.reply('refused').fields['away']
    assert rig.table.put_off.digest == ref.digest


def test_of_two_announced_at_once_the_newer_acts_and_the_other_is_forgotten(robot_with_policy):
    rig = robot_with_policy
    second, third = rig.publish(2), rig.publish(3)
    assert rig.announce(second) == '' and rig.announce(third) == ''
    rig.reply('loaded')
    rig.reply('loaded')
    assert rig.supervisor.swap() and rig.table.active.digest == third.digest
    assert second.digest not in rig.supervisor._held


def test_an_older_step_is_not_loaded(robot_with_policy):
    rig = robot_with_policy
    rig.install(rig.publish(5))
    assert 'step 2 is older than step 5' in rig.announce(rig.publish(2))
    assert rig.table.loading is None


def test_a_rollback_needs_no_load_and_no_store(robot_with_policy):
    rig = robot_with_policy
    before = rig.act()
    ref = rig.install(rig.publish(2))
    after = rig.act()
    shutil.rmtree(rig.folder)
    assert rig.table.rollback() == '' and rig.supervisor.swap()
    assert rig.table.loading is None and rig.supervisor.usable
    assert rig.act() == before != after
    assert 'rolled back' in rig.announce(ref)
