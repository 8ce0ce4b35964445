# SPDX-License-Identifier: Apache-2.0
"""Bags that are cut, flipped, empty or something else: named for what they are, and salvaged."""

from pathlib import Path

from mcap.reader import make_reader
import pytest
from rosbags.highlevel import AnyReader

from lwd_core.episode import EpisodeBagReader, EpisodeError, EpisodeMeta
from lwd_core.episode.check import (
    recover_file,
    recover_folder,
    Recovery,
    Result,
    spool_bags,
    verify,
    worst,
)
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.scan import MAGIC
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')


@pytest.fixture
def episode(tmp_path, monkeypatch):
    """Return a complete episode of many chunks."""
    monkeypatch.setattr('lwd_core.episode.writer.CHUNK_BYTES', 4000)
    folder = tmp_path / 'ep-0001'
    write_episode(folder, ROBOT, Recipe(ticks=60), Definitions([ROOT / 'src/lwd_msgs']))
    return folder


def bag_of(folder):
    return folder / 'ep-0001_0.mcap'


def stamps(path):
    return [message.log_ns for message in EpisodeBagReader(path).raw()]


def flip(path, where):
    """Flip a bit in the middle of a record of joint states, somewhere in the file."""
    data = bytearray(path.read_bytes())
    at = data.find(b'left/', int(len(data) * where))
    data[at + 2] ^= 16
    path.write_bytes(data)


def test_a_whole_episode_is_whole(episode):
    assert verify(episode) == []


@pytest.mark.parametrize('damage, text', [
    (lambda f: flip(bag_of(f), 0.5), 'sha256 of ep-0001_0.mcap differs'),
    (lambda f: bag_of(f).write_bytes(bag_of(f).read_bytes()[:-20]), 'bytes, must have'),
    (lambda f: bag_of(f).write_bytes(b''), '0 bytes'),
    (lambda f: bag_of(f).unlink(), 'is not there'),
    (lambda f: (f / 'metadata.yaml').write_text('a: 1'), 'sha256 of metadata.yaml differs'),
    (lambda f: (f / 'metadata.yaml').unlink(), 'metadata.yaml is not there'),
    (lambda f: (f / 'episode.json').write_text('{'), 'not JSON'),
    (lambda f: (f / 'episode.json').write_text(
        (f / 'episode.json').read_text().replace('ep-0001_0.mcap', '../../etc/passwd')),
     'is not there'),
], ids=['bit-flipped', 'truncated', 'zero-byte', 'deleted', 'other metadata', 'no metadata',
        'half a record', 'a name that leads outside'])
def test_damage_is_named(episode, damage, text):
    damage(episode)
    assert text in '; '.join(verify(episode))


def test_counts_that_differ_from_the_record_are_named(episode):
    path = episode / 'episode.json'
    path.write_text(path.read_text().replace('"count": 65', '"count": 64'))
    assert '/sim/joint_states has 65 messages, must have 64' in verify(episode)


def test_everything_before_and_behind_a_flipped_bit_is_salvaged(episode, tmp_path):
    everything = stamps(bag_of(episode))
    flip(bag_of(episode), 0.5)
    found = recover_file(bag_of(episode), tmp_path / 'out')
    assert found.result is Result.LOSSY and 'a chunk of' in found.text and 'checksum' in found.text
    kept = stamps(tmp_path / 'out/ep-0001_0.mcap')
    assert len(everything) * 0.8 < len(kept) < len(everything)
    assert kept[0] == everything[0] and kept[-1] == everything[-1], 'also what follows the damage'
    with AnyReader([tmp_path / 'out']) as reader:
        assert reader.message_count == len(kept)
    with open(tmp_path / 'out/ep-0001_0.mcap', 'rb') as file:
        assert sum(1 for _ in make_reader(file).iter_messages()) == len(kept)


def test_the_whole_messages_of_a_chunk_that_is_cut_are_salvaged(episode, tmp_path, monkeypatch):
    monkeypatch.setattr('lwd_core.episode.writer.CHUNK_BYTES', 1 << 22)  # one chunk
    write_episode(tmp_path / 'one', ROBOT, Recipe(ticks=60), Definitions([ROOT / 'src/lwd_msgs']))
    bag = bag_of(tmp_path / 'one')
    everything = stamps(bag)
    bag.write_bytes(bag.read_bytes()[:bag.stat().st_size // 2])
    found = recover_file(bag, tmp_path / 'out')
    assert found.result is Result.LOSSY and 'is cut' in found.text
    kept = stamps(tmp_path / 'out/ep-0001_0.mcap')
    assert len(kept) > 50 and kept == everything[:len(kept)]


def test_a_bag_that_was_only_not_closed_loses_nothing(episode, tmp_path):
    bag = bag_of(episode)
    everything = stamps(bag)
    data = bag.read_bytes()
    bag.write_bytes(data[:data.rindex(b'\x0f\x04\x00\x00\x00\x00\x00\x00\x00')])  # DataEnd
    found = recover_file(bag, tmp_path / 'out')
    assert found.result is Result.WHOLE and stamps(tmp_path / 'out/ep-0001_0.mcap') == everything


def test_a_cut_index_is_made_again(episode, tmp_path):
    bag = bag_of(episode)
    everything = stamps(bag)
    bag.write_bytes(bag.read_bytes()[:-30])
    found = recover_file(bag, tmp_path / 'out')
    assert found.result is Result.WHOLE and stamps(tmp_path / 'out/ep-0001_0.mcap') == everything


@pytest.mark.parametrize('content', [b'', MAGIC, b'SQLite format 3\0' * 9, b'\0' * 999],
                         ids=['zero-byte', 'empty', 'wrong extension', 'only zeros'])
def test_what_is_no_bag_gives_nothing_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / 'x.mcap'
    path.write_bytes(content)
    assert recover_file(path, tmp_path / 'out').result is Result.NOTHING
    assert path.read_bytes() == content and not (tmp_path / 'out').exists()


def test_an_output_that_exists_is_not_touched(episode):
    with pytest.raises(EpisodeError, match='exists already'):
        recover_file(bag_of(episode), episode)


def left_open(episode):
    """Make the folder look as a killed recorder leaves it."""
    meta = EpisodeMeta.read(episode)
    opened = EpisodeMeta(id=meta.id, robot=meta.robot, robot_digest=meta.robot_digest,
                         task=meta.task, instruction='', robot_spec=meta.robot_spec, clock='sim')
    (episode / 'opened.json').write_bytes(opened.to_json())
    bag_of(episode).rename(f'{bag_of(episode)}.partial')
    (episode / 'metadata.yaml').unlink()
    (episode / 'episode.json').unlink()


def test_a_folder_of_a_spool_is_completed_in_place(episode):
    left_open(episode)
    assert [bag.state for bag in spool_bags(episode.parent)] == ['open']
    found = recover_folder(episode)
    assert found.result is Result.WHOLE and 'outcome success' in found.text
    assert verify(episode) == [] and not (episode / 'opened.json').exists()
    assert [bag.state for bag in spool_bags(episode.parent)] == ['whole']
    assert recover_folder(episode).result is Result.WHOLE, 'again'


def test_a_folder_whose_record_is_lost_gives_a_bag_beside_it(episode):
    left_open(episode)
    (episode / 'opened.json').unlink()
    found = recover_folder(episode)
    assert found.result is Result.WHOLE and 'ep-0001-recovered' in found.text


def test_the_exit_code_is_that_of_mcap_recover():
    def codes(*results):
        return int(worst([Recovery(Path(), result, '') for result in results]))

    assert codes() == codes(Result.WHOLE) == 0
    assert codes(Result.NOTHING) == codes(Result.NOTHING, Result.NOTHING) == 1
    assert codes(Result.LOSSY) == codes(Result.WHOLE, Result.NOTHING) == 3
