# SPDX-License-Identifier: Apache-2.0
"""The node over DDS: checkpoints come, wait, act, are refused and rolled back."""


import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from node_world import connected  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from lwd_core.checkpoint import CheckpointRef, set_channel  # noqa: E402
from lwd_core.store import FolderStore  # noqa: E402
from lwd_core.topics import CommandTag  # noqa: E402
from lwd_msgs.msg import ControlMode, EpisodeState, PolicyStatus  # noqa: E402
from lwd_msgs.srv import LoadCheckpoint  # noqa: E402


def test_a_new_checkpoint_waits_for_the_end_of_the_episode_and_can_be_rolled_back(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', pending_checkpoint='ok2')
    w.lockstep(2)
    w.set_mode(ControlMode.HOLD)
    w.set_episode(EpisodeState.IDLE)
    w.wait_state(PolicyStatus.READY, checkpoint='ok2', loads=2)
    w.run_policy()
    assert w.lockstep(1)[0].points[0].positions[0] == pytest.approx(0.1 + 2 / 1000)
    w.set_mode(ControlMode.HOLD)
    w.set_episode(EpisodeState.IDLE)
    future = w.load.call_async(LoadCheckpoint.Request(digest=''))
    w.spin_until(future.done, 'rollback')
    assert future.result().accepted
    w.wait_state(PolicyStatus.READY, checkpoint='ok1', loads=3)


def acting_with_two(world, **overrides):
    w = world(**overrides)
    connected(w)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.READY, checkpoint='ok2')
    w.run_policy()
    w.lockstep(2)
    return w


def test_a_rollback_acts_with_the_next_chunk_amid_the_episode(world):
    w = acting_with_two(world)
    client = w.peer.create_client(Trigger, 'policy/rollback')
    w.spin_until(client.service_is_ready, 'service')
    future = client.call_async(Trigger.Request())
    w.spin_until(future.done, 'rollback')
    assert future.result().success and 'ok1' in future.result().message
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1')
    commands = w.lockstep(10)
    rows = {CommandTag.decode(c.header.frame_id): c.points[0].positions[0] for c in commands}
    offsets = {tag.chunk: round(value - 0.1 - tag.index / 100, 4) for tag, value in rows.items()}
    assert sorted(offsets.items()) == [(1, 0.002), (2, 0.001)]
    assert w.node.loop.starved_ticks == 0
    w.give('ok2', 2)  # the channel says it again
    w.spin_for(0.2)
    assert w.status.checkpoint == 'ok1' and w.status.pending_checkpoint == ''


def test_a_rollback_without_a_previous_checkpoint_is_refused(world):
    w = world()
    connected(w)
    client = w.peer.create_client(Trigger, 'policy/rollback')
    w.spin_until(client.service_is_ready, 'service')
    future = client.call_async(Trigger.Request())
    w.spin_until(future.done, 'rollback')
    assert not future.result().success and 'no previous' in future.result().message


def test_with_swap_chunk_a_new_checkpoint_acts_with_the_next_chunk(world):
    w = world(swap='chunk')
    connected(w)
    w.run_policy()
    w.lockstep(2)
    w.give('ok2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok2')
    commands = w.lockstep(8)
    tags = [CommandTag.decode(c.header.frame_id) for c in commands]
    assert [tag.chunk for tag in tags] == [1] * 6 + [2] * 2
    assert commands[-1].points[0].positions[0] == pytest.approx(0.1 + 0.01 + 0.002)
    assert w.node.loop.starved_ticks == 0


def test_with_swap_chunk_one_that_observes_otherwise_waits_for_the_end(world):
    w = world(swap='chunk')
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.give('pixels2', 2)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', pending_checkpoint='pixels2')
    w.lockstep(9)
    assert w.status.checkpoint == 'ok1'


def test_a_bad_checkpoint_is_refused_by_name_and_the_old_one_goes_on(world):
    w = world()
    connected(w)
    w.run_policy()
    w.lockstep(1)
    w.give('bad3', 3)
    w.wait_state(PolicyStatus.ACTING, checkpoint='ok1', rejected_checkpoint='bad3')
    assert 'damaged' in w.status.rejected_reason
    w.lockstep(3)
    w.spin_until(lambda: w.diagnostics is not None and w.diagnostics.status[0].level
                 == DiagnosticStatus.WARN, 'diagnostics')
    assert 'bad3' in w.diagnostics.status[0].message
    values = {item.key: item.value for item in w.diagnostics.status[0].values}
    assert values['backend'] == 'fake: as told'


def test_a_channel_of_the_store_is_followed_without_announcements(world, tmp_path):
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok1', 1, 'checkpoints/1'))
    w = world(poll_period=0.05)
    w.wait_state(PolicyStatus.READY, checkpoint='ok1')
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok2', 2, 'checkpoints/2'))
    w.wait_state(PolicyStatus.READY, checkpoint='ok2', checkpoint_step=2)


def test_a_store_that_goes_away_is_one_warning_and_the_policy_goes_on(world, tmp_path, capfd):
    set_channel(FolderStore(tmp_path / 'store'), 'stable', CheckpointRef('ok1', 1, 'checkpoints/1'))
    w = world(poll_period=0.05)
    connected(w)
    (tmp_path / 'store' / 'channels' / 'stable.json').write_text('{"cut')
    w.run_policy()
    w.lockstep(5)
    w.spin_until(lambda: 'not JSON' in capfd.readouterr().err, 'warning')
    w.lockstep(5)
    assert 'not JSON' not in capfd.readouterr().err
