# SPDX-License-Identifier: Apache-2.0
"""A recording shown to a policy again: the same bits for its checkpoint, a report otherwise."""

from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys

from exchange_fixtures import definitions, record, ROBOT
import numpy as np
import pytest

from lwd_bringup.cli.replay import resolve_checkpoint
from lwd_bringup.shadow.compare import Chunk, compare
from lwd_bringup.shadow.feed import read_recording
from lwd_bringup.shadow.page import lines, page
from lwd_bringup.shadow.recompute import recompute
from lwd_core.checkpoint import CheckpointContents, save_checkpoint, set_channel
from lwd_core.episode import EpisodeBagReader, EpisodeError, EpisodeMeta, read_episode
from lwd_core.episode.synthetic import Messages, START_NS
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.observation import ObservationSpec
from lwd_core.store import FolderStore
from lwd_policy_node.planning import chunk_seed

PERIOD = ROBOT.period_ns
STATE = ObservationSpec.for_robot(ROBOT, 'state')
TICKS, CHUNK, TAKEOVER = 40, 8, (18, 26)
PLANNED = (0, 7, 15, 26, 33)
DOMAIN = 20 + (os.getpid() + 40) % 80  # two runs on one machine must not hear each other
PUBLISHED = ('episode', 'control_mode', 'joint_states', 'state_observation')


def checkpoint(store, seed):
    """Publish a small random policy."""
    import torch

    from lwd_core.flow import make_policy
    from lwd_core.flow.bundle import pack
    torch.manual_seed(seed)
    d, s = ROBOT.action_dim, len(ROBOT.state_names)
    config = {'joint_dim': d, 'state_dim': s, 'action_dim': d, 'horizon': 2 * CHUNK, 'hidden': 16,
              'layers': 1, 'instruction_dim': 4}
    sizes = {'joints': d, 'action': d, 'state': s}
    policy = make_policy(config, {name: {'kind': 'zscore', 'mean': [0.0] * n, 'std': [1.0] * n}
                                  for name, n in sizes.items()})
    packed, tensors = pack(policy, None)
    ref = save_checkpoint(store, CheckpointContents(
        packed, tensors, policy.normalization(), step=seed, robot=ROBOT))
    return ref


def rewrite(folder, change):
    """Write the bag again; `change(topic, message, log_ns)` yields (topic, message) to write."""
    reader, messages = EpisodeBagReader(next(folder.glob('*.mcap'))), Messages(definitions())
    entries = [(reader.topic_of(m), reader.decode(m), m.log_ns) for m in reader.raw()]
    specs = reader.specs()
    writer = EpisodeBagWriter(folder / 'new', EpisodeMeta.read(folder).id, definitions())
    for topic, spec in specs.items():
        writer.add_topic(spec, topic)
    for topic, message, log_ns in entries:
        for name, one in change(topic.removeprefix(f'/{ROBOT.name}/'), message, messages):
            writer.write(f'/{ROBOT.name}/{name}', messages.serialize(one), log_ns)
    bag = writer.close()
    bag.path.replace(folder / bag.path.name)
    replace(EpisodeMeta.read(folder), bag={
        'file': bag.path.name, 'sha256': bag.sha256, 'bytes': bag.bytes}).write(folder)


def tick_of(message):
    return (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - START_NS) // PERIOD


@pytest.fixture(scope='module')
def acted(tmp_path_factory):
    """Return a store with two checkpoints and an episode that the first one drove, but for a
    takeover: chunks and actions are what the policy computes from the samples in the bag."""
    from lwd_policy_node.loading import load, LoadRequest
    root = tmp_path_factory.mktemp('acted')
    store = FolderStore(root / 'store')
    first, second = checkpoint(store, 1), checkpoint(store, 2)
    set_channel(store, 'stable', second)
    folder = record(store.path, 'ep', ticks=TICKS, human=TAKEOVER, jpeg=None, chunk=CHUNK,
                    checkpoint=first.digest)
    data = read_episode(folder, ROBOT, STATE)
    policy = load(LoadRequest(str(store.path), ROBOT, first.digest)).policy
    chunks = {}
    # as the scheduler asks with lookahead 1: a tick before the old chunk is used up
    for start in PLANNED:
        seed = chunk_seed('ep', int(data.ticks_ns[start]) // PERIOD)
        chunks[start] = (seed, policy.act(data.observation(start), seed))

    def change(topic, message, messages):
        if topic == 'policy/chunk':
            return
        tick = tick_of(message) if hasattr(message, 'header') else -1
        if topic == 'executed_action' and tick in chunks:
            seed, actions = chunks[tick]
            header = message.header
            names = ['joint_states', 'state_observation']
            yield 'policy/chunk', messages.make(
                'lwd_msgs/msg/ActionChunk', header=header, chunk_id=tick + 1,
                checkpoint=first.digest, seed=seed, observation_sources=names,
                observation_stamps=[header.stamp] * 2, horizon=len(actions),
                action_dim=ROBOT.action_dim, joint_names=list(ROBOT.joint_names),
                actions=actions.reshape(-1))
        if topic == 'executed_action' and tick in (0, *TAKEOVER):
            human = tick == TAKEOVER[0]
            yield 'control_mode', messages.make(
                'lwd_msgs/msg/ControlMode', header=message.header, mode=2 if human else 1,
                epoch=1 + (0, *TAKEOVER).index(tick))
        if topic == 'executed_action' and message.source == 1:
            start = max(one for one in chunks if one < tick or one == tick in (0, TAKEOVER[1]))
            action = chunks[start][1][tick - start].astype(np.float64)
            message = replace(message, requested=action, sent=action)
        yield topic, message
    rewrite(folder, change)
    return store, folder, first, second


def test_recorded_chunks_come_out_bit_for_bit_from_the_bag(acted):
    store, folder, first, second = acted
    recording = read_recording(folder)
    found = recompute(folder, ROBOT, recording.chunks, str(store.path), first.digest)
    assert found == {'chunks': 5, 'bit_exact': 5, 'without_samples': 0, 'max_error': 0.0}
    other = recompute(folder, ROBOT, recording.chunks, str(store.path), second.digest)
    assert other == {'chunks': 0, 'bit_exact': 0, 'without_samples': 0, 'max_error': None}


def test_a_changed_sample_is_noticed(acted, tmp_path):
    import shutil
    store, folder, first, _ = acted
    copy = tmp_path / 'ep'
    shutil.copytree(folder, copy)

    def nudge(topic, message, messages):
        if topic == 'joint_states' and tick_of(message) == 7:
            message = replace(message, position=message.position + 1e-4)
        yield topic, message
    rewrite(copy, nudge)
    recording = read_recording(copy)
    found = recompute(copy, ROBOT, recording.chunks, str(store.path), first.digest)
    assert found['bit_exact'] == 4 and 0 < found['max_error'] < 0.1


@pytest.mark.timeout(300)
@pytest.mark.parametrize('which', ['recorded', 'stable'])
def test_a_real_policy_node_is_shown_the_episode_and_compared(acted, tmp_path, which):
    store, folder, first, second = acted
    out = tmp_path / 'out'
    done = subprocess.run(
        [sys.executable, '-m', 'lwd_bringup', 'replay', str(folder), '--shadow', which, '--out',
         str(out), '--run-dir', str(tmp_path / 'run'), '--domain', str(DOMAIN)],
        capture_output=True, text=True, timeout=280, cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    found = json.loads((out / 'shadow.json').read_text())
    summary = found['summary']
    assert summary['ticks'] == TICKS and summary['human']['ticks'] == 8
    assert summary['policy']['answered'] == TICKS - 8
    assert 'would-be and executed' in (out / 'shadow.html').read_text()
    if which == 'recorded':
        assert found['checkpoint'] == first.digest
        assert summary['policy']['bit_exact'] == TICKS - 8, summary
        assert summary['policy']['max_error'] == 0.0
        assert summary['chunks']['bit_exact'] == summary['chunks']['recorded'] == 5
        assert summary['recomputed']['bit_exact'] == 5
    else:
        assert found['checkpoint'] == second.digest
        assert summary['policy']['bit_exact'] == 0 and summary['policy']['max_error'] > 0.01
        assert any('checkpoint was' in note for note in summary['notes'])
    # While the person drove, the policy planned in shadow: what would it have done?
    assert summary['human']['answered'] > 0


def test_each_tick_is_preceded_by_the_samples_that_had_arrived_then(acted):
    recording = read_recording(acted[1])
    assert [step.tick_ns for step in recording.steps] == [
        START_NS + t * PERIOD for t in range(TICKS)]
    assert [step.mode for step in recording.steps] == [
        2 if TAKEOVER[0] <= t < TAKEOVER[1] else 1 for t in range(TICKS)]
    later = recording.steps[5].before
    assert [sent.topic for sent in later] == ['joint_states', 'state_observation']
    assert set(recording.topics) == set(PUBLISHED)
    opening = [sent.topic for sent in recording.opening]
    assert opening == ['episode', 'episode'] and len(recording.closing) == 2


def test_a_sample_that_came_late_is_held_back(acted, tmp_path):
    """Live, the chunk of tick 7 was planned with the joints of tick 6."""
    import shutil
    folder = tmp_path / 'ep'
    shutil.copytree(acted[1], folder)

    def older(topic, message, messages):
        if topic == 'policy/chunk' and tick_of(message) == 7:
            stamp = message.observation_stamps[0]
            message.observation_stamps[0] = replace(stamp, nanosec=stamp.nanosec - PERIOD)
        yield topic, message
    rewrite(folder, older)
    steps = read_recording(folder).steps
    assert [sent.topic for sent in steps[7].before] == ['state_observation']
    assert [sent.topic for sent in steps[8].before] == ['joint_states'] * 2 + ['state_observation']


def chunk(tick, value, seed=1, checkpoint='c', sources=None):
    return Chunk(tick, checkpoint, seed, sources or {'joint_states': tick},
                 np.full((4, 2), value, np.float32))


class Action:
    def __init__(self, tick, source, value):
        from types import SimpleNamespace
        self.header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=tick))
        self.source, self.joint_names = source, ['a', 'b']
        self.requested = self.sent = np.full(2, value)


def test_comparison_counts_ticks_bits_and_reasons():
    from types import SimpleNamespace

    def message(one):
        stamp = SimpleNamespace(sec=0, nanosec=one.tick_ns)
        return SimpleNamespace(
            header=SimpleNamespace(stamp=stamp), checkpoint=one.checkpoint, seed=one.seed,
            observation_sources=list(one.sources), shadow=False, horizon=4, action_dim=2,
            observation_stamps=[SimpleNamespace(sec=0, nanosec=s) for s in one.sources.values()],
            actions=one.actions.reshape(-1))
    executed = [Action(0, 1, 0.5), Action(10, 1, 0.5), Action(20, 2, 0.9), Action(30, 2, 0.9)]
    recorded = {0: message(chunk(0, 0.5)), 10: message(chunk(10, 0.5, sources={'joint_states': 9}))}
    would = {0: chunk(0, 0.5), 10: chunk(10, 0.25), 20: chunk(20, 1.0)}
    found = compare(executed, recorded, {0: np.full(2, 0.5), 10: np.full(2, 0.25)}, would)
    summary = found.summary()
    assert summary['policy'] == {
        'ticks': 2, 'answered': 2, 'bit_exact': 1, 'max_error': 0.25, 'mean_error': 0.125,
        'max_error_by_joint': {'a': 0.25, 'b': 0.25}}
    assert summary['human']['answered'] == 2
    assert summary['human']['max_error'] == pytest.approx(0.1)
    assert summary['chunks'] == {'recorded': 2, 'planned': 3, 'at_the_same_tick': 2,
                                 'same_computation': 1, 'bit_exact': 1}
    assert 'other samples were joined (joint_states: 9 then, 10 now)' in found.notes[0]
    meta = EpisodeMeta('e', 'r', 'd', 't<b>', 'i')
    text = '\n'.join(lines(found, meta, 'c' * 64))
    assert 'policy drove 2 ticks, 2 have a would-be action, 1 of them bit for bit' in text
    html = page(found, meta, 'c' * 64)
    assert html.count('<svg') >= 2 and '<b>' not in html and 'http' not in html.replace(
        'http://www.w3.org', '')


def test_an_episode_in_which_nothing_was_executed_cannot_be_shown(tmp_path):
    folder = record(tmp_path, 'e', jpeg=None,
                    edit=lambda topic, m: None if topic == 'executed_action' else m)
    with pytest.raises(EpisodeError, match='nothing was executed'):
        read_recording(folder)


def test_checkpoints_are_named_by_digest_channel_or_recording(acted):
    store, folder, first, second = acted
    meta = EpisodeMeta.read(folder)
    assert resolve_checkpoint(store, 'recorded', meta) == first.digest
    assert resolve_checkpoint(store, 'stable', meta) == second.digest
    assert resolve_checkpoint(store, first.digest[:14], meta) == first.digest
    for wanted, text in (('abcdefabcdef', 'no checkpoint starts'), ('nowhere', 'no channel')):
        with pytest.raises(ValueError, match=text):
            resolve_checkpoint(store, wanted, meta)
    with pytest.raises(ValueError, match='driven by no checkpoint'):
        resolve_checkpoint(store, 'recorded', replace(meta, checkpoints=[]))
    assert Path(folder).is_dir()
