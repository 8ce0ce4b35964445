# SPDX-License-Identifier: Apache-2.0
"""The whole loop, judged by what it left behind: bags, store, index, summary."""
from collections import defaultdict
from pathlib import Path
import sqlite3

from mcap.reader import make_reader
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
import torch

from lwd_bringup.paths import config_dir
from lwd_core.checkpoint import list_checkpoints, load_checkpoint, read_channel
from lwd_core.episode import EpisodeBagReader, read_episode
from lwd_core.episode.meta import list_episodes, read_meta
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_learner.publish import load_policy
from lwd_msgs.msg import ExecutedAction, Intervention

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope='module')
def store(quick_demo):
    return FolderStore(quick_demo / 'store', create=False)


@pytest.fixture(scope='module')
def robot():
    return RobotSpec.from_yaml(config_dir() / 'robots' / 'sim.yaml')


@pytest.fixture(scope='module')
def episodes(store):
    """Return (folder, meta) of every episode, in the order recorded."""
    found = [(store.local(path), read_meta(store, path)) for path in list_episodes(store)]
    return sorted(found, key=lambda pair: pair[1].recorded_at)


@pytest.fixture(scope='module')
def deployed(episodes):
    return [(folder, meta) for folder, meta in episodes
            if meta.start_mode == 'policy' and meta.outcome in ('success', 'failure')]


def bag(folder):
    return next(folder.glob('*.mcap'))


def messages(folder, topic):
    wanted = [name for name in EpisodeBagReader(bag(folder)).topics if name.endswith('/' + topic)]
    return [message for _, _, message in EpisodeBagReader(bag(folder)).messages(set(wanted))]


def stamps(stamped):
    return np.array([message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
                     for message in stamped])


def while_running(meta, stamped):
    return [m for m in stamped if meta.started_ns <= stamps([m])[0] <= meta.ended_ns]


def test_a_takeover_is_in_the_bag_as_executed_actions_of_a_human(deployed):
    taken = [(folder, meta) for folder, meta in deployed
             if any(one['start_tick'] > 1 for one in meta.interventions)]
    assert taken, 'the operator never took over: the quick policy is too good or nobody watched'
    folder, meta = taken[0]
    executed = messages(folder, 'executed_action')
    human = [m for m in executed if m.source == ExecutedAction.SOURCE_HUMAN]
    policy = [m for m in executed if m.source == ExecutedAction.SOURCE_POLICY]
    assert human and policy
    assert all(len(m.sent) == 14 and np.isfinite(m.sent).all() for m in human)
    first = meta.interventions[0]
    ticks = [m.tick for m in human]
    assert min(ticks) >= first['start_tick']
    # What was executed is what the person commanded, through the ordinary teleoperation path.
    teleop = {stamps([m])[0] for m in messages(folder, 'teleop/command')}
    assert set(stamps(human)) <= teleop


def test_every_takeover_in_a_bag_has_its_end_there(deployed):
    found = 0
    for folder, meta in deployed:
        events = messages(folder, 'intervention')
        started = [m.id for m in events if m.event == Intervention.STARTED]
        ended = [m.id for m in events if m.event == Intervention.ENDED]
        assert set(started) == set(ended), f'{meta.id}: a takeover without start or end'
        assert len(started) == len(set(started)) == len(meta.interventions)
        found += len(started)
    assert found


def test_every_episode_was_ingested_exactly_once(quick_demo, episodes):
    with sqlite3.connect(quick_demo / 'learner' / 'index.sqlite') as index:
        rows = index.execute('SELECT id, verdict, reason FROM episodes').fetchall()
    ids = [row[0] for row in rows]
    assert len(set(ids)) == len(ids)
    # Discarded and unlabelled episodes are refused by design; nothing else may be.
    known = {meta.id: meta.outcome for _, meta in episodes}
    refused = {row[0]: row[2] for row in rows if row[1] == 'rejected'}
    wrongly = {id_: why for id_, why in refused.items()
               if known.get(id_) in ('success', 'failure')}
    assert not wrongly
    assert set(known) == set(ids)
    used = set(ids) - set(refused)
    assert len(list((quick_demo / 'learner' / 'arrays').iterdir())) == len(used)


def test_checkpoints_were_published_and_verify(store, robot, summary):
    found = list_checkpoints(store)
    kinds = [load_checkpoint(store, ref, robot).kind for ref in found]
    assert 'sft' in kinds and 'dagger' in kinds
    assert sum(kind.startswith('lwd') for kind in kinds) >= 1
    assert read_channel(store, 'stable').digest in {ref.digest for ref in found}
    assert summary['checkpoints']['published'] >= 2


def test_checkpoints_change_between_episodes_only(deployed, summary):
    acting = defaultdict(list)
    for folder, meta in deployed:
        digests = {chunk.checkpoint for chunk in messages(folder, 'policy/chunk')}
        assert len(digests) <= 1, f'{meta.id} was driven by two checkpoints'
        acting[meta.robot] += digests
    assert any(len(set(digests)) >= 2 for digests in acting.values()), acting
    assert summary['checkpoints']['loaded'] >= 3


def test_no_tick_was_missed(deployed, episodes, robot, summary):
    assert deployed
    for folder, meta in deployed:
        executed = messages(folder, 'executed_action')
        steps = np.diff(stamps(while_running(meta, executed)))
        assert (steps == robot.period_ns).all(), f'{meta.id}: ticks are missing'
        starved = [m.starved_steps for m in while_running(meta, messages(folder, 'sim/state'))]
        assert starved[-1] == starved[0], f'{meta.id}: the robot stepped without a command'
    # Sensors are best effort: a machine that is busy while the graphs start may lose a burst.
    recorded = sum(topic['count'] for _, meta in episodes for topic in meta.topics.values())
    assert summary['lost_messages'] <= 0.005 * recorded


def test_learning_changed_what_the_policy_does(store, robot, episodes):
    folder, _ = next((f, m) for f, m in episodes if m.outcome == 'success')
    data = read_episode(folder, robot, ObservationSpec.for_robot(robot, 'state'))
    refs = list_checkpoints(store)
    first = next(ref for ref in refs if load_checkpoint(store, ref).kind == 'sft')
    chunks = []
    for ref in (first, read_channel(store, 'stable')):
        policy, _ = load_policy(store, ref, robot)
        batch = {'joints': torch.from_numpy(data.joints[:4]),
                 'state': torch.from_numpy(data.state[:4])}
        width = policy.config().get('instruction_dim', 0)
        if width:
            batch['instruction'] = torch.zeros(4, width)
        noise = torch.zeros(4, policy.horizon, policy.action_dim)
        with torch.inference_mode():
            chunks.append(policy.sample(policy.encode(batch), noise).numpy())
    assert np.abs(chunks[1] - chunks[0]).max() > 1e-4


def test_bags_open_with_other_peoples_readers(deployed):
    folder, _ = deployed[0]
    with AnyReader([folder]) as reader:
        names = {connection.topic for connection in reader.connections}
        decoded = [reader.deserialize(raw, connection.msgtype)
                   for connection, _, raw in reader.messages()
                   if connection.topic.endswith('/executed_action')]
    assert decoded and any(name.endswith('/joint_states') for name in names)
    with open(bag(folder), 'rb') as stream:
        found = make_reader(stream)
        assert found.get_summary().statistics.message_count > 0
        assert sum(1 for _ in found.iter_messages()) == (
            found.get_summary().statistics.message_count)


def test_the_summary_and_the_report_are_complete(quick_demo, summary):
    assert set(summary) == {'success', 'takeovers_per_episode', 'episodes', 'checkpoints',
                            'late_ticks', 'lost_messages', 'phases_s', 'wall_s', 'observation',
                            'seed'}
    for policy in ('sft', 'dagger', 'final'):
        row = summary['success'][policy]
        assert row['n'] > 0 and 0 <= row['low'] <= row['mean'] <= row['high'] <= 1
    page = (quick_demo / 'report.html').read_text()
    assert page.count('<svg') >= 6 and 'data:image/jpeg' in page
    assert 'http://' not in page.replace('http://www.w3.org', '') and 'https://' not in page


def test_nothing_is_left_running(quick_demo):
    out, left = str(quick_demo), []
    for proc in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if out in proc.read_bytes().decode(errors='replace'):
                left.append(proc.parent.name)
        except OSError:
            continue
    assert not left
