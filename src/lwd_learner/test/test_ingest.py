# SPDX-License-Identifier: Apache-2.0
"""Every episode is learned from once; a bad one costs a line in the log and nothing else."""

from datetime import datetime
from pathlib import Path
import sqlite3

from learner_fakes import episode_data
import numpy as np
import pytest

from lwd_core.episode import EpisodeError
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_learner.episodes import EpisodeArrays
from lwd_learner.ingest import Ingest, IngestSettings, WorkDirError

ROBOT = RobotSpec.from_dict({
    'name': 'sim', 'model': 'test', 'control_rate': 25.0,
    'state_names': [f's{i}' for i in range(5)],
    'joints': [{'name': f'j{i}', 'lower': -3, 'upper': 3, 'velocity': 4, 'acceleration': 80}
               for i in range(14)],
    'cameras': [],
})
SETTINGS = IngestSettings(ROBOT, ('place',), ObservationSpec.for_robot(ROBOT, 'state'))


class Shop:
    """A store and a reader that hands out made-up episodes."""

    def __init__(self, root: Path) -> None:
        self.store = FolderStore(root / 'store')
        self.work_dir = root / 'learner'
        self.data: dict[str, object] = {}
        self.reads: list[str] = []

    def add(self, name: str, data: object) -> None:
        self.data[name] = data
        self.store.put(f'episodes/robot1/2026-01-02/{name}/episode.json', name.encode())

    def read(self, path: Path, robot: RobotSpec, spec: ObservationSpec, tasks) -> object:
        self.reads.append(path.name)
        data = self.data[path.name]
        if isinstance(data, Exception):
            raise data
        return data

    def ingest(self) -> Ingest:
        return Ingest(self.store, self.work_dir, SETTINGS, self.read)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def ids(episodes) -> list[str]:
    return [one.episode_id for one in episodes]


def test_each_episode_is_ingested_exactly_once(shop: Shop):
    shop.add('e1', episode_data('e1'))
    ingest = shop.ingest()
    assert ids(ingest.poll()) == ['e1']
    shop.add('e2', episode_data('e2'))
    assert ids(ingest.poll()) == ['e2'] and ids(ingest.poll()) == []
    assert shop.reads == ['e1', 'e2']


def test_episode_without_its_marker_is_not_there_yet(shop: Shop):
    shop.store.put('episodes/robot1/2026-01-02/e1/e1_0.mcap', b'half')
    assert ids(shop.ingest().poll()) == []


def test_restart_restores_from_the_cache_without_reading_a_bag(shop: Shop):
    shop.add('e1', episode_data('e1'))
    first = shop.ingest()
    assert ids(first.poll()) == ['e1']
    first.close()
    again = shop.ingest()
    assert ids(again.restore()) == ['e1'] and ids(again.poll()) == []
    assert shop.reads == ['e1']


def test_killed_between_cache_and_index_converts_again(shop: Shop):
    shop.add('e1', episode_data('e1'))
    first = shop.ingest()
    assert ids(first.poll()) == ['e1']
    first.close()
    with sqlite3.connect(shop.work_dir / 'index.sqlite') as database:
        database.execute('DELETE FROM episodes')
    again = shop.ingest()
    assert ids(again.restore()) == [] and ids(again.poll()) == ['e1']


def test_lost_cache_file_is_converted_again_with_its_origin(shop: Shop):
    shop.add('e1', episode_data('e1'))
    first = shop.ingest()
    assert [one.origin for one in first.poll()] == ['offline']
    first.go_online(1)
    first.close()
    for path in (shop.work_dir / 'arrays').iterdir():
        path.unlink()
    assert [one.origin for one in shop.ingest().restore()] == ['offline']


@pytest.mark.parametrize('spoil', [
    lambda data: b'', lambda data: data[:-7], lambda data: bytes(len(data)),
    lambda data: data[:-7] + bytes(7),
])
def test_a_cache_that_a_power_cut_spoiled_is_made_again_from_the_recording(shop: Shop, spoil):
    shop.add('e1', episode_data('e1'))
    first = shop.ingest()
    (whole,) = first.poll()
    first.close()
    cached, = (shop.work_dir / 'arrays').iterdir()
    cached.write_bytes(spoil(cached.read_bytes()))
    again = shop.ingest()
    for _ in range(2):
        (one,) = again.restore()
        np.testing.assert_array_equal(one.actions, whole.actions)
    assert EpisodeArrays.load(cached).episode_id == 'e1'


@pytest.mark.parametrize(('data', 'reason'), [
    (EpisodeError('truncated', 'bag is truncated at byte 17'), 'truncated at byte 17'),
    (KeyError('surprise'), 'KeyError'),
    (episode_data('bad', length=0), 'no ticks'),
    (episode_data('bad', length=4), '4 ticks, replay.min_ticks is 5'),
    (episode_data('e1'), 'ingested already'),
])
def test_bad_episode_is_rejected_with_its_reason_and_the_next_one_still_read(
    shop: Shop, data, reason: str
):
    shop.add('e1', episode_data('e1'))
    shop.add('e2', data)
    shop.add('e3', episode_data('e3'))
    ingest = shop.ingest()
    assert ids(ingest.poll()) == ['e1', 'e3']
    assert ingest.rejected == 1
    assert reason in ingest.index.rejected()[0].reason
    assert ids(ingest.poll()) == []


@pytest.mark.parametrize(('field', 'value', 'reason'), [
    ('actions', np.nan, "'actions' is not finite"),
    ('joints', np.inf, "'joints' is not finite"),
    ('actions', 0.5, 'constant'),
])
def test_poisoned_arrays_are_rejected(shop: Shop, field: str, value: float, reason: str):
    data = episode_data('e1')
    setattr(data, field, np.full((20, 14), value, np.float32))
    shop.add('e1', data)
    ingest = shop.ingest()
    assert ids(ingest.poll()) == []
    assert reason in ingest.index.rejected()[0].reason


def test_policy_episodes_recorded_after_the_online_phase_began_are_online(shop: Shop):
    ingest = shop.ingest()
    began = datetime.fromisoformat('2026-01-02T00:00:00+00:00')
    ingest.go_online(int(began.timestamp() * 1e9))
    shop.add('before', episode_data('before', recorded_at='2026-01-01T23:59:59+00:00'))
    shop.add('by_policy', episode_data('by_policy', source=[1, 1, 2]))
    shop.add('human', episode_data('human', source=2))
    origins = {one.episode_id: one.origin for one in ingest.poll()}
    assert origins == {'before': 'offline', 'by_policy': 'online', 'human': 'offline'}
    ingest.go_online(1)
    ingest.close()
    assert shop.ingest().online_since == int(began.timestamp() * 1e9)


@pytest.mark.parametrize(('meta', 'expected'), [
    ({'success': True}, (True, True)),
    ({'success': False}, (False, True)),
    ({'success': False, 'stop_reason': 'time_limit'}, (False, True)),
])
def test_failures_and_running_out_of_time_end_with_value_zero(shop: Shop, meta, expected):
    shop.add('e1', episode_data('e1', **meta))
    (one,) = shop.ingest().poll()
    assert (one.success, one.terminal) == expected


def test_second_learner_on_one_work_folder_is_refused(shop: Shop):
    first = shop.ingest()
    with pytest.raises(WorkDirError, match='another learner'):
        shop.ingest()
    first.close()
    shop.ingest().close()


def test_episode_refused_for_want_of_a_label_is_used_once_labelled(shop: Shop):
    shop.add('e1', EpisodeError('no_outcome', 'has no outcome'))
    ingest = shop.ingest()
    assert ids(ingest.poll()) == [] and ingest.reconsider() == 0
    shop.data['e1'] = episode_data('e1')
    shop.store.put('episodes/robot1/2026-01-02/e1/episode.json', b'labelled')
    assert ingest.reconsider() == 1 and ingest.rejected == 0
    assert ids(ingest.poll()) == ['e1'] and ids(ingest.poll()) == []
