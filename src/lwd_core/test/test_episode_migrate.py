# SPDX-License-Identifier: Apache-2.0
"""Recordings of older software are read by explicit rules, or refused naming the field."""

import json
from pathlib import Path
import shutil

import numpy as np
import pytest

from lwd_core.episode import EpisodeError, EpisodeMeta, read_episode
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.migrate import EXPECTED, FIELDS, migrate_meta
from lwd_core.episode.reader import EpisodeBagReader
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
STATE = ObservationSpec.for_robot(ROBOT, 'state')


@pytest.fixture
def record(tmp_path):
    """Record an episode with `without` = {message: fields that did not exist yet}."""
    def record(without):
        package = tmp_path / 'lwd_msgs'
        shutil.copytree(ROOT / 'src/lwd_msgs/msg', package / 'msg')
        for name, fields in without.items():
            path = package / 'msg' / f'{name}.msg'
            lines = [line for line in path.read_text().splitlines()
                     if not any(line.split('#')[0].split()[1:2] == [field] for field in fields)]
            path.write_text('\n'.join(lines))

        definitions = Definitions([package])
        from lwd_core.episode import synthetic

        class Old(synthetic.Messages):
            def make(self, type_name, **given):
                missing = without.get(type_name.rsplit('/', 1)[1], ())
                return super().make(type_name, **{
                    key: value for key, value in given.items() if key not in missing})

        original, synthetic.Messages = synthetic.Messages, Old
        try:
            write_episode(tmp_path / 'ep', ROBOT, Recipe(ticks=30), definitions)
        finally:
            synthetic.Messages = original
        return tmp_path / 'ep'
    return record


def test_fields_that_did_not_exist_yet_are_filled_by_rule(record):
    folder = record({'ExecutedAction': ('requested', 'clamped', 'chunk_index'),
                     'ActionChunk': ('shadow', 'epoch', 'latency')})
    data = read_episode(folder, ROBOT, STATE)
    assert len(data) == 30 and not data.clamped.any() and not data.chunk_index.any()
    np.testing.assert_array_equal(data.requested, data.actions)
    reader = EpisodeBagReader(folder / 'ep-0001_0.mcap')
    chunk = next(m for topic, _, m in reader.messages() if topic.endswith('policy/chunk'))
    assert chunk.shadow is False and np.isnan(chunk.latency) and chunk.chunk_id == 1


def test_a_field_without_a_rule_is_refused_by_name(record):
    with pytest.raises(EpisodeError, match="ExecutedAction was recorded without the field 'sent', "
                                           'and there is no rule') as error:
        read_episode(record({'ExecutedAction': ('sent',)}), ROBOT, STATE)
    assert error.value.reason == 'version'


def test_expected_fields_exist_today_and_rules_fill_nothing_else():
    types = Definitions([ROOT / 'src/lwd_msgs'])
    for name, fields in EXPECTED.items():
        types.get(name)
        today = {field for field, _ in types.typestore.fielddefs[name][1]}
        assert set(fields) <= today, name
        assert set(FIELDS.get(name, {})) <= set(fields), name


def test_an_episode_json_of_version_1_is_read(tmp_path):
    meta = write_episode(tmp_path / 'ep', ROBOT, Recipe(ticks=10),
                         Definitions([ROOT / 'src/lwd_msgs']))
    path = tmp_path / 'ep/episode.json'
    old = json.loads(path.read_text())
    for name in ('labels', 'origin'):
        del old[name]
    path.write_text(json.dumps({**old, 'schema_version': 1}))
    assert EpisodeMeta.read(tmp_path / 'ep') == meta
    assert migrate_meta({'schema_version': 9}, 2) == {'schema_version': 9}


def test_labels_keep_their_history():
    meta = EpisodeMeta('e', 'r', 'd', 't', 'i', outcome='failure', labelled_by='anna')
    twice = meta.relabelled('success', 'ben', '2026-01-01').relabelled('failure', 'eve', '2026-02')
    assert (twice.outcome, twice.labelled_by) == ('failure', 'eve')
    assert [(one['was'], one['was_by'], one['outcome'], one['by']) for one in twice.labels] == [
        ('failure', 'anna', 'success', 'ben'), ('success', 'ben', 'failure', 'eve')]
    with pytest.raises(EpisodeError, match="outcome 'maybe' refused"):
        meta.relabelled('maybe', 'x', '')
    with pytest.raises(EpisodeError, match='sub-step score 0.7 refused, must be 0, 0.5 or 1'):
        meta.relabelled('failure', 'x', '', [1.0, 0.7])


@pytest.mark.parametrize(('meta', 'share'), [
    ({'started_ns': 0, 'ended_ns': 100, 'interventions': []}, 0.0),
    ({'started_ns': 0, 'ended_ns': 100, 'start_mode': 'human'}, 1.0),
    ({'started_ns': 0, 'ended_ns': 100,
      'interventions': [{'start_ns': 10, 'end_ns': 20}, {'start_ns': 50, 'end_ns': 0}]}, 0.6),
    ({}, 0.0),
])
def test_takeover_share(meta, share):
    assert EpisodeMeta('e', 'r', 'd', 't', 'i', **meta).takeover_share == pytest.approx(share)
