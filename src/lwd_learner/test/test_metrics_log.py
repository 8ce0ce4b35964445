# SPDX-License-Identifier: Apache-2.0
"""Metrics on disk: JSON rows, and events that TensorBoard reads."""

import json
import math
from pathlib import Path

import pytest

from lwd_learner.metrics_log import group, MetricsLog


def test_rows_are_json_and_no_data_is_null(tmp_path: Path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write(10, 'online', {'q_mean': 0.5, 'tau': math.nan})
    row = json.loads((tmp_path / 'metrics.jsonl').read_text())
    assert (row['step'], row['phase'], row['q_mean'], row['tau']) == (10, 'online', 0.5, None)
    assert not (tmp_path / 'tensorboard').exists()


def test_tensorboard_reads_the_same_figures_also_after_a_restart(tmp_path: Path):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator').EventAccumulator
    for steps in ((10, 20), (30,)):
        log = MetricsLog(tmp_path)
        for step in steps:
            log.write(step, 'online', {'q_mean': step / 100, 'q_human': math.nan})
        log.close()
    events = accumulator(str(tmp_path / 'tensorboard'))
    events.Reload()
    scalars = [(one.step, round(one.value, 3)) for one in events.Scalars('value/q_mean')]
    assert scalars == [(10, 0.1), (20, 0.2), (30, 0.3)]
    assert 'value/q_human' not in events.Tags()['scalars']


@pytest.mark.parametrize(('name', 'heading'), [
    ('q_loss', 'loss'), ('bc_loss', 'loss'), ('q_gradient', 'gradient'),
    ('adjoint_max', 'gradient'), ('q_success', 'value'), ('tau', 'value'),
    ('data_wait_share', 'speed'), ('replay_age', 'replay'), ('positive_share', 'train')])
def test_metrics_are_grouped(name, heading):
    assert group(name) == heading
