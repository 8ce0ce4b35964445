# SPDX-License-Identifier: Apache-2.0
"""One bag per episode, from READY to IDLE, whatever happens in between."""

import errno
import os
from pathlib import Path
import sys

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
import yaml

from lwd_core.episode import EpisodeBagReader, list_episodes, read_episode, read_meta
from lwd_core.episode.gaps import LossCounter
from lwd_core.episode.reader import stamp_ns
from lwd_core.episode.synthetic import Recipe, START_NS
from lwd_core.episode.writer import qos_record
from lwd_core.hashing import sha256_file
from lwd_core.observation import ObservationSpec
from lwd_core.params import ParamError
from lwd_core.store import FolderStore, StoreAwayError
from lwd_logger.config import check_robot_name
from lwd_logger.preroll import PreRoll, Received
from lwd_logger.recorder import State
from lwd_logger.rivals import Rivals
from lwd_logger.spool import Spool, SpoolError

sys.path.insert(0, str(Path(__file__).parent))
from support import Bench, ends, MESSAGES, ROBOT, script, SPECS, state_message

STATE = ObservationSpec.for_robot(ROBOT, 'state')


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.spool.close()


def stored(bench, **kwargs):
    path, = list_episodes(bench.store)
    return path, read_meta(bench.store, path)


def test_an_episode_is_recorded_from_ready_to_idle_and_handed_to_the_store(bench):
    bench.play(human=(5, 9))
    assert bench.states == ['RECORDING', 'CLOSING', 'IDLE']
    path, meta = stored(bench)
    assert path == 'episodes/sim/2026-01-02/ep-0001'
    assert bench.store.children(path) == ['ep-0001_0.mcap', 'episode.json', 'metadata.yaml']
    assert (meta.outcome, meta.task, meta.seed) == ('success', 'place', 0)
    assert meta.checkpoints == [{'digest': 'c' * 64, 'step': None, 'since_ns': START_NS}]
    assert meta.topics['/sim/joint_states']['count'] == 25
    data = read_episode(bench.store.local(path), ROBOT, STATE)
    assert len(data) == 20 and sorted(set(data.source)) == [1, 2]
    assert bench.reports[-1].last_episode_id == 'ep-0001'
    assert bench.reports[-1].episodes_written == 1
    assert os.listdir(bench.spool.path) == ['.lock']


def only_ready(topic, message):
    """Stop after the episode is READY."""
    return topic != 'episode'


def test_recording_is_reported_at_once_when_the_episode_is_ready(bench):
    bench.play(id='ep-0')
    bench.reports.clear()
    bench.play(until=only_ready)
    report, = bench.reports
    assert report.state is State.RECORDING and report.episode_id == 'ep-0001'


def test_a_slow_disk_keeps_neither_the_robot_nor_its_messages_waiting(tmp_path, monkeypatch):
    jobs, synced, real = [], [], os.fsync
    bench = Bench(tmp_path, submit=jobs.append)
    monkeypatch.setattr(os, 'fsync', lambda handle: pytest.fail('the writer waits for the disk'))
    for number in (1, 2):  # the second one while the first one is not even closed
        bench.play(Recipe(id=f'ep-{number}', ticks=20, start_ns=START_NS + number * 10**10))
    assert bench.states == ['RECORDING', 'CLOSING'] * 2
    monkeypatch.setattr(os, 'fsync', lambda handle: (
        synced.append(os.readlink(f'/proc/self/fd/{handle}').rsplit('/', 1)[-1]), real(handle)))
    while jobs:
        jobs.pop(0)()
    assert [path.rsplit('/', 1)[1] for path in list_episodes(bench.store)] == ['ep-1', 'ep-2']
    assert {'opened.json', 'ep-1', 'spool'} <= set(synced), 'made durable a moment later'
    bench.spool.close()


def test_recording_is_not_reported_before_the_robot_was_heard(bench):
    bench.play(until=only_ready)
    bench.recorder.report()
    assert bench.reports[-1].state is State.IDLE
    assert 'no /sim/joint_states was ever received' in bench.reports[-1].reason
    bench.feed('joint_states', MESSAGES.make('sensor_msgs/msg/JointState'), START_NS)
    assert (bench.reports[-1].state, bench.reports[-1].reason) == (State.RECORDING, '')


def test_nothing_half_is_visible_while_recording(bench):
    bench.play(until=ends)
    assert bench.store.list() == []
    assert sorted(os.listdir(bench.spool.folder('ep-0001'))) == [
        'ep-0001_0.mcap.partial', 'opened.json']


def test_latched_state_and_the_pre_roll_from_before_are_in_the_bag(tmp_path):
    bench = Bench(tmp_path, pre_roll=0.1)
    bench.feed('policy/status', state_message(checkpoint='c' * 64, checkpoint_step=7), 1)
    for tick in range(10):
        log_ns = START_NS - (20 - tick) * ROBOT.period_ns
        bench.feed('joint_states', MESSAGES.make(
            'sensor_msgs/msg/JointState', header=MESSAGES.header(log_ns),
            name=list(ROBOT.joint_names), position=np.zeros(14)), log_ns)
    bench.play()
    path, meta = stored(bench)
    assert meta.checkpoints[0]['step'] == 7
    assert meta.topics['/sim/policy/status']['count'] == 1
    assert meta.topics['/sim/joint_states']['count'] == 25 + 3  # 0.1 s: ticks 7, 8 and 9
    bench.spool.close()


def test_latched_state_that_changed_during_an_episode_is_in_the_next_bag_at_its_beginning(bench):
    bench.play(id='ep-1', until=ends)
    bench.feed('policy/status', state_message(checkpoint='d' * 64, checkpoint_step=9), 1)
    bench.play(id='ep-2', checkpoint='d' * 64)
    path, = (path for path in list_episodes(bench.store) if path.endswith('ep-2'))
    meta = read_meta(bench.store, path)
    assert meta.checkpoints[0]['step'] == 9
    raw = EpisodeBagReader(bench.store.local(path) / meta.bag['file']).raw()
    assert raw[0].log_ns == min(message.log_ns for message in raw) > 1


def test_what_came_just_before_the_end_of_an_episode_is_the_pre_roll_of_the_next(bench):
    bench.play(id='ep-1', ticks=3, until=ends)
    log_ns = START_NS + 3 * ROBOT.period_ns
    bench.feed('joint_states', MESSAGES.make(
        'sensor_msgs/msg/JointState', header=MESSAGES.header(log_ns),
        name=list(ROBOT.joint_names), position=np.zeros(14)), log_ns)
    for phase, name in ((0, 'ep-1'), (2, 'ep-2'), (3, 'ep-2'), (0, 'ep-2')):
        bench.feed('episode', MESSAGES.make(
            'lwd_msgs/msg/EpisodeState', episode_id=name, phase=phase), log_ns)
    path, = (path for path in list_episodes(bench.store) if path.endswith('ep-2'))
    bag = EpisodeBagReader(bench.store.local(path) / read_meta(bench.store, path).bag['file'])
    assert log_ns in [stamp for _, stamp, _ in bag.messages(['/sim/joint_states'])]


def test_interventions_are_in_the_account(bench):
    def takeover(event, tick, **fields):
        stamp = START_NS + tick * ROBOT.period_ns
        bench.feed('intervention', MESSAGES.make(
            'lwd_msgs/msg/Intervention', header=MESSAGES.header(stamp), event=event, id=3,
            episode_id='ep-0001', operator_name='ann', source='leader', reason='stuck',
            start_tick=5, **fields), stamp)

    bench.play(until=ends)
    takeover(0, 5)
    takeover(1, 9, end_tick=9, end_reason='handback')
    bench.play(until=lambda *_: False)
    record, = stored(bench)[1].interventions
    assert (record['start_tick'], record['end_tick'], record['end_reason']) == (5, 9, 'handback')
    assert record['end_ns'] - record['start_ns'] == 4 * ROBOT.period_ns


def test_two_episodes_give_two_bags(bench):
    for number in (1, 2):
        bench.play(id=f'ep-{number}')
    assert [path.split('/')[-1] for path in list_episodes(bench.store)] == ['ep-1', 'ep-2']


def test_an_episode_whose_end_was_missed_is_kept_unlabelled(bench):
    bench.play(id='ep-1', until=ends)
    bench.play(id='ep-2')
    metas = [read_meta(bench.store, path) for path in list_episodes(bench.store)]
    assert [meta.outcome for meta in metas] == ['unlabelled', 'success']
    assert 'followed without its end' in metas[0].detail


def test_an_old_latched_end_of_another_episode_closes_nothing(bench):
    bench.play(until=ends)
    bench.feed('episode', MESSAGES.make(
        'lwd_msgs/msg/EpisodeState', episode_id='ep-0000', phase=0), START_NS)
    assert bench.recorder.status().state is State.RECORDING


def test_an_episode_machine_that_was_restarted_ends_the_episode(bench):
    bench.play(until=ends)
    bench.feed('episode', MESSAGES.make('lwd_msgs/msg/EpisodeState', phase=0), START_NS)
    assert stored(bench)[1].outcome == 'unlabelled'


def test_an_episode_that_starts_at_simulated_time_zero_is_kept(bench):
    def at_zero(topic, message):
        if topic == 'episode':
            message.started.sec = message.started.nanosec = 0
        return False

    bench.play(until=at_zero)
    path, meta = stored(bench)
    assert meta.started_ns == 0 and meta.outcome == 'success'
    assert len(read_episode(bench.store.local(path), ROBOT, STATE)) >= 20


def test_the_next_episode_does_not_wait_for_the_last_bag_to_be_closed(tmp_path):
    jobs = []
    bench = Bench(tmp_path, submit=jobs.append)
    bench.play(id='ep-1')
    assert bench.reports[-1].state is State.CLOSING
    assert bench.recorder.status().state is State.CLOSING
    bench.play(id='ep-2', until=ends)
    assert bench.recorder.status().state is State.RECORDING
    for job in jobs:
        job()
    assert [path.split('/')[-1] for path in list_episodes(bench.store)] == ['ep-1']
    assert bench.reports[-1].state is State.RECORDING
    assert bench.reports[-1].last_episode_id == 'ep-1'
    bench.spool.close()


def test_an_episode_that_never_ran_leaves_nothing(bench):
    bench.play(until=lambda topic, message: topic == 'episode' and message.phase == 3)
    bench.feed('episode', MESSAGES.make(
        'lwd_msgs/msg/EpisodeState', episode_id='ep-0001', phase=0), START_NS)
    assert bench.store.list() == [] and os.listdir(bench.spool.path) == ['.lock']
    assert bench.reports[-1].state is State.IDLE


def test_a_recorder_that_is_stopped_keeps_the_episode_unlabelled(bench):
    bench.play(until=ends)
    bench.recorder.shut_down()
    meta = stored(bench)[1]
    assert meta.outcome == 'unlabelled' and 'was stopped' in meta.detail


@pytest.mark.parametrize('bad', ['../../etc', '', 'a/b', 'x' * 200])
def test_an_episode_id_that_is_no_file_name_is_refused(bench, bad):
    bench.play(id=bad)
    assert bench.reports[0].state is State.FAULT and 'refused' in bench.reports[0].reason
    assert bench.store.list() == []


def test_losses_are_counted_by_topic_from_sequence_numbers(bench):
    bench.play(until=ends)
    header = MESSAGES.header(START_NS)
    for sequence in (4, 5, 9, 10, 1, 2):
        bench.feed('joint_states', MESSAGES.make('sensor_msgs/msg/JointState', header=header),
                   START_NS, sequence)
    bench.recorder.lost('joint_states', 2)
    status = bench.recorder.status()
    assert status.lost_total == 5
    assert {t.topic: t.lost for t in status.topics}['/sim/joint_states'] == 5


def test_losses_are_counted_from_stamps_where_there_are_no_numbers(bench):
    bench.play(ticks=40, until=lambda topic, message: topic == 'joint_states'
               and stamp_ns(message.header.stamp) == START_NS + 20 * ROBOT.period_ns)
    message = MESSAGES.make('sensor_msgs/msg/JointState', name=list(ROBOT.joint_names),
                            header=MESSAGES.header(START_NS + 23 * ROBOT.period_ns))
    bench.feed('joint_states', message, START_NS + 23 * ROBOT.period_ns)
    status = bench.recorder.status()
    assert {t.topic: t.lost for t in status.topics}['/sim/joint_states'] == 3
    bench.recorder.shut_down()
    record = stored(bench)[1].topics['/sim/joint_states']
    assert (record['gaps'], record['missing'], record['lost']) == (1, 3, 3)
    assert record['longest_gap_s'] == pytest.approx(4 * ROBOT.period_ns / 1e9)


def test_what_arrives_late_and_together_is_no_gap_where_its_stamps_are_steady(bench):
    """In lockstep two ticks may be collected at once: logged at one clock, stamped as they were."""
    for log_ns, topic, message in script(ROBOT, Recipe(ticks=40), MESSAGES):
        period = ROBOT.period_ns
        bench.feed(topic, message, log_ns - log_ns % (2 * period) if topic != 'episode' else log_ns)
    topics = stored(bench)[1].topics
    for topic in ('joint_states', 'state_observation', 'executed_action'):
        record = topics[f'/sim/{topic}']
        assert (record['gaps'], record['missing']) == (0, 0), topic
        assert record['longest_gap_s'] == pytest.approx(ROBOT.period_ns / 1e9)


def test_the_account_of_an_episode_is_complete(bench):
    bench.play(human=(5, 9))
    path, meta = stored(bench)
    assert meta.robot_digest == ROBOT.digest and meta.robot_spec == ROBOT.to_dict()
    assert (meta.task, meta.instruction, meta.outcome) == (
        'place', 'put the item on the shelf', 'success')
    assert meta.clock == 'sim' and meta.recorded_at.startswith('2026-01-02T03:04:05')
    assert meta.checkpoints and meta.started_ns == START_NS < meta.ended_ns
    folder = bench.store.local(path)
    assert meta.bag['sha256'] == sha256_file(folder / meta.bag['file'])
    assert meta.bag['metadata_sha256'] == sha256_file(folder / 'metadata.yaml')
    custom = yaml.safe_load((folder / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']['custom_data']
    assert custom['task'] == 'place' and custom['outcome'] == 'success'
    assert custom['robot_digest'] == ROBOT.digest and custom['episode_id'] == 'ep-0001'


def test_the_qos_in_the_bag_is_what_publishers_offered(tmp_path):
    offered = [{**qos_record(SPECS['joint_states']), 'reliability': 'reliable'}] * 2
    bench = Bench(tmp_path, offered=lambda topic: offered if topic == 'joint_states' else [])
    bench.play()
    folder = bench.store.local(stored(bench)[0])
    with AnyReader([folder]) as reader:
        qos = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    assert [q.reliability.name for q in qos['/sim/joint_states']] == ['RELIABLE'] * 2
    assert [q.durability.name for q in qos['/sim/episode']] == ['TRANSIENT_LOCAL']
    bench.spool.close()


def test_what_is_flushed_is_made_durable_elsewhere_once_a_second(tmp_path):
    handles = []
    bench = Bench(tmp_path, sync=handles.append, flush_period=0.5, sync_period=1.0)
    bench.play(until=ends)
    for now in (1.0, 1.5, 2.0, 2.5, 3.0):
        bench.now = now
        bench.recorder.tick()
    assert len(handles) == 3 and all(os.fstat(handle).st_size > 1000 for handle in handles)
    for handle in handles:
        os.close(handle)
    bench.spool.close()


def test_a_second_recorder_is_heard_and_the_next_episode_refused(bench):
    rivals = Rivals('me')
    rivals.heard('me', 1.0)
    assert rivals.present(1.0) == ''
    rivals.heard('other pid 7', 2.0)
    assert rivals.present(2.0) == '', 'one report may be left over from a recorder that was killed'
    rivals.heard('other pid 7', 3.0)
    assert rivals.present(3.0) == 'other pid 7' and rivals.present(9.0) == ''
    bench.play(id='ep-1', until=ends)
    bench.recorder.rival = 'two recorders for one robot'
    bench.play(id='ep-1', until=lambda *_: False)
    assert [path[-4:] for path in list_episodes(bench.store)] == ['ep-1'], 'what runs goes on'
    bench.play(id='ep-2')
    assert bench.reports[-1].state is State.FAULT
    assert 'ep-2 is not recorded: two recorders' in bench.reports[-1].reason
    bench.recorder.rival = ''
    bench.play(id='ep-3')
    assert [path[-4:] for path in list_episodes(bench.store)] == ['ep-1', 'ep-3']


def test_the_same_episode_recorded_twice_is_kept_aside_and_named(tmp_path):
    first, second = Bench(tmp_path / 'a'), None
    first.play(human=(3, 6))
    second = Bench(tmp_path / 'b', store=first.store)
    second.play()
    assert len(list_episodes(first.store)) == 1 and stored(first)[1].topics
    assert 'already in the store' in second.said('error')[0]
    assert (tmp_path / 'b/spool/broken/ep-0001/episode.json').is_file()
    first.spool.close()
    second.spool.close()


def test_bags_are_closed_to_others(bench):
    before = os.umask(0)
    try:
        bench.play()
    finally:
        os.umask(before)
    folder = bench.store.local(stored(bench)[0])
    for path in (folder, *folder.iterdir(), *folder.parents[:2]):
        assert path.stat().st_mode & 0o007 == 0, path


def test_no_secret_of_the_environment_is_in_a_bag_or_a_log(tmp_path, monkeypatch):
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'sentinel-3141')
    bench = Bench(tmp_path)
    bench.play()
    written = b''.join(path.read_bytes() for path in tmp_path.rglob('*') if path.is_file())
    assert len(written) > 10_000 and b'sentinel-3141' not in written
    assert 'sentinel-3141' not in str(bench.logs)
    bench.spool.close()


@pytest.mark.parametrize('name', ['../other', 'a/b', '', 'x' * 65, '7up', 'a b', '.hidden'])
def test_a_robot_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ParamError, match='parameter robot'):
        check_robot_name(name)


def test_low_disk_warns_and_then_refuses_new_episodes(tmp_path, monkeypatch):
    bench = Bench(tmp_path, disk_warn_mib=100, disk_stop_mib=10)
    free = 50 << 20
    monkeypatch.setattr(bench.spool, 'disk_free', lambda: free)
    bench.recorder.tick()
    assert '50 MiB free' in bench.said('warning')[0]
    bench.play(id='ep-1')
    free = 5 << 20
    bench.play(id='ep-2')
    fault = bench.reports[-1]
    assert fault.state is State.FAULT and '5 MiB free' in fault.reason and '10 MiB' in fault.reason
    free = 50 << 20
    bench.play(id='ep-3')
    assert [path.split('/')[-1] for path in list_episodes(bench.store)] == ['ep-1', 'ep-3']
    assert bench.reports[-1].state is State.IDLE
    bench.spool.close()


def test_a_disk_full_in_the_middle_is_a_fault_and_loses_nothing_written(bench, monkeypatch):
    bench.play(until=lambda topic, message: topic == 'executed_action' and message.tick == 10)
    bench.recorder._flush()
    writer = bench.recorder._open.writer
    written = writer.messages

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(writer._file, 'write', full)
    monkeypatch.setattr('lwd_core.episode.mcap_file.HashedFile.__init__', full)
    bench.now = 5.0
    bench.feed('joint_states', MESSAGES.make('sensor_msgs/msg/JointState'), START_NS)
    bench.recorder.tick()
    assert bench.reports[-1].state is State.FAULT
    assert 'No space left' in bench.reports[-1].reason
    idle = dict(episode_id='ep-0001', phase=0)
    bench.feed('episode', MESSAGES.make('lwd_msgs/msg/EpisodeState', **idle), START_NS)
    assert bench.store.list() == [], 'no half episode'
    monkeypatch.undo()
    bench.spool.close()
    again = Bench(bench.spool.path.parent, store=bench.store)
    again.recorder.recover()
    path, meta = stored(again)
    assert meta.recovered and meta.outcome == 'unlabelled'
    assert len(EpisodeBagReader(again.store.local(path) / meta.bag['file']).raw()) == written
    again.play(id='ep-2')
    assert len(list_episodes(again.store)) == 2, 'the recorder goes on'
    again.spool.close()


def test_what_a_killed_recorder_left_is_recovered_at_the_next_start(tmp_path):
    killed = Bench(tmp_path)
    killed.play(until=ends)
    killed.recorder._flush()
    written = killed.recorder._open.writer.messages
    killed.spool.close()  # what the kernel does for a killed process
    folder, = (tmp_path / 'spool').glob('ep-*')
    (folder / '.episode.json.0badcafe.tmp').write_bytes(b'{')  # killed amid an atomic write
    empty = tmp_path / 'spool' / 'ep-0'
    empty.mkdir()
    (empty / 'ep-0_0.mcap.partial').write_bytes(b'\x89MCAP0\r\n')
    bench = Bench(tmp_path)
    bench.recorder.recover()
    meta = stored(bench)[1]
    assert meta.recovered and meta.topics['/sim/executed_action']['count'] == 25
    assert f'recovered {written} messages' in bench.said('warning')[0]
    assert 'moved aside' in bench.said('error')[0] and 'ep-0' in bench.said('error')[0]
    assert (tmp_path / 'spool/broken/ep-0').is_dir()
    bench.spool.close()


class AwayStore(FolderStore):
    """A store that cannot be reached until it is back."""

    away = True

    def put_dir(self, *arguments, **options):
        if self.away:
            raise StoreAwayError('no route to store')
        super().put_dir(*arguments, **options)


def test_a_store_that_is_away_blocks_nothing_and_gets_all_when_it_is_back(tmp_path):
    store = AwayStore(tmp_path / 'store')
    bench = Bench(tmp_path, store=store)
    for number in (1, 2):
        bench.play(id=f'ep-{number}')
    assert list_episodes(store) == [] and 'no route' in bench.said('error')[0]
    assert bench.reports[-1].state is State.IDLE
    store.away = False
    bench.now += 60.0
    bench.recorder.tick()
    assert len(list_episodes(store)) == 2
    bench.spool.close()


def test_a_second_recorder_of_one_robot_is_refused(bench):
    with pytest.raises(SpoolError, match='two recorders for one robot'):
        Spool(bench.spool.path, bench.store, print)


def test_a_damaged_message_is_refused_and_the_rest_recorded(bench):
    with pytest.raises(Exception, match='episode: not a lwd_msgs/msg/EpisodeState'):
        bench.recorder.handle(Received('episode', b'\x00\x01\x00\x00\x01', 0, 0, 0))
    bench.play()
    assert len(list_episodes(bench.store)) == 1


def test_the_account_is_the_same_live_and_recovered(tmp_path):
    """The recovered account of a bag that was whole equals the one written live."""
    live = Bench(tmp_path / 'live')
    live.play()
    killed = Bench(tmp_path / 'killed')
    killed.recorder._close = lambda detail='': None  # killed between the last message and closing
    killed.play()
    killed.recorder._flush()
    killed.spool.close()
    again = Bench(tmp_path / 'killed')
    again.recorder.recover()
    a, b = stored(live)[1], stored(again)[1]
    for name in ('outcome', 'stop_reason', 'started_ns', 'ended_ns', 'checkpoints', 'topics',
                 'instruction', 'seed'):
        assert getattr(a, name) == getattr(b, name), name
    live.spool.close()
    again.spool.close()


def test_a_clock_that_jumps_back_empties_the_pre_roll():
    ring = PreRoll(10**10, 10**6, SPECS)
    for log_ns in (10**9, 2 * 10**9, 2 * 10**9 - 10**7, 5 * 10**8):
        ring.add(Received('joint_states', b'x', log_ns, 0, 0))
    assert [message.log_ns for message in ring.drain(6 * 10**8)] == [5 * 10**8]


def test_messages_of_one_moment_may_be_out_of_order_in_the_pre_roll():
    ring = PreRoll(10**10, 10**6, SPECS)
    for log_ns in (10**9, 10**9 - 4_000_000):
        ring.add(Received('joint_states', b'x', log_ns, 0, 0))
    assert len(list(ring.drain(10**9))) == 2


def test_the_pre_roll_is_bounded_in_bytes():
    ring = PreRoll(10**9, 25, SPECS)
    for log_ns in range(9):
        ring.add(Received('joint_states', b'x' * 10, log_ns, 0, 0))
    assert [message.log_ns for message in ring.drain(60)] == [7, 8]


def test_a_restarted_publisher_is_no_loss():
    losses = LossCounter()
    assert [losses.arrived('a', n) for n in (7, 8, 1, 2, 5, None)] == [0, 0, 0, 0, 2, 0]
    assert losses.take() == {'a': 2} and losses.take() == {} and losses.total == 2


def test_a_recipe_that_is_cut_short_has_every_tick(bench):
    bench.play(Recipe(ticks=3))
    assert len(read_episode(bench.store.local(stored(bench)[0]), ROBOT, STATE)) == 3
