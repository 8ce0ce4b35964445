# SPDX-License-Identifier: Apache-2.0
"""What a killed recorder leaves behind becomes an ordinary bag with every whole message."""

from dataclasses import replace
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from lwd_core.episode import EpisodeBagReader, EpisodeMeta, read_episode
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.recover import recover
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Return the folder as a killed recorder leaves it, what was known at opening, the stamps."""
    monkeypatch.setattr('lwd_core.episode.writer.CHUNK_BYTES', 4000)
    folder = tmp_path / 'ep-0001'
    meta = write_episode(folder, ROBOT, Recipe(ticks=60), Definitions([ROOT / 'src/lwd_msgs']))
    bag = folder / meta.bag['file']
    stamps = [message.log_ns for message in EpisodeBagReader(bag).raw()]
    bag.rename(f'{bag}.partial')
    for name in ('metadata.yaml', 'episode.json'):
        (folder / name).unlink()
    opened = EpisodeMeta(id=meta.id, robot=meta.robot, robot_digest=meta.robot_digest, task='place',
                         instruction='', robot_spec=meta.robot_spec, clock='sim')
    return folder, opened, stamps


def cut(folder, share):
    partial = folder / 'ep-0001_0.mcap.partial'
    data = partial.read_bytes()
    partial.write_bytes(data[:int(len(data) * share)])


@pytest.mark.parametrize('share', [0.25, 0.5, 0.8])
def test_every_whole_message_of_a_cut_bag_is_kept(left, share):
    folder, opened, stamps = left
    cut(folder, share)
    found = recover(folder, opened)
    assert 0 < found.messages < len(stamps) and found.lost
    assert found.meta.outcome == 'unlabelled' and found.meta.recovered
    assert sorted(path.name for path in folder.iterdir()) == [
        'ep-0001_0.mcap', 'episode.json', 'metadata.yaml']
    kept = [message.log_ns for message in EpisodeBagReader(folder / 'ep-0001_0.mcap').raw()]
    assert kept == stamps[:len(kept)] and len(kept) == found.messages
    with AnyReader([folder]) as reader:
        assert reader.message_count == found.messages
    data = read_episode(folder, ROBOT, ObservationSpec.for_robot(ROBOT, 'state'),
                        require_outcome=False)
    assert not data.terminal and data.meta.checkpoints[0]['digest'] == Recipe().checkpoint


def test_a_bag_that_was_only_not_named_loses_nothing_and_keeps_its_outcome(left):
    folder, opened, stamps = left
    found = recover(folder, opened)
    assert (found.messages, found.lost) == (len(stamps), '')
    assert found.meta.outcome == 'success' and found.meta.instruction == Recipe().instruction
    assert len(read_episode(folder, ROBOT, ObservationSpec.for_robot(ROBOT, 'state'))) == 60


def test_recovery_that_was_itself_killed_can_be_repeated(left):
    folder, opened, stamps = left
    (folder / 'recover').mkdir()
    (folder / 'recover' / 'ep-0001_0.mcap.partial').write_bytes(b'half')
    assert recover(folder, opened).messages == len(stamps)


@pytest.mark.parametrize('content', [None, b'', b'\x89MCAP0\r\n', b'rubbish' * 9])
def test_what_holds_no_whole_message_is_left_as_it_is(left, content):
    folder, opened, _ = left
    partial = folder / 'ep-0001_0.mcap.partial'
    partial.unlink()
    if content is not None:
        partial.write_bytes(content)
    before = sorted(path.name for path in folder.iterdir())
    assert recover(folder, replace(opened)) is None
    assert sorted(path.name for path in folder.iterdir()) == before
