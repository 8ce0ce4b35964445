# SPDX-License-Identifier: Apache-2.0
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from lwd_bringup.demo.config import DemoConfigError, load_demo_config
from lwd_bringup.demo.errors import DemoError
from lwd_bringup.demo.live import LiveView, sparkline
from lwd_bringup.demo.phases import robots_with_news
from lwd_bringup.demo.run import prepare_folder
from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.stats import moving_mean, rate, success_table, wilson
from lwd_bringup.plots import Plot


@pytest.mark.parametrize(('k', 'n', 'low', 'high'), [
    (0, 0, 0.0, 1.0),
    (0, 10, 0.0, 0.2775),
    (10, 10, 0.7225, 1.0),
    (43, 50, 0.7381, 0.9305),  # checked against R's binom::binom.confint(method = 'wilson')
])
def test_wilson_interval(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-4)


def test_no_data_has_no_mean():
    assert rate([]) == {'mean': None, 'low': 0.0, 'high': 1.0, 'n': 0}


def test_success_table_counts_by_policy_and_task():
    rows = [{'policy': 'sft', 'task': task, 'success': success}
            for task, success in (('a', True), ('a', False), ('b', True), ('b', True))]
    table = success_table(rows, ('sft', 'final'))
    assert table['sft']['mean'] == 0.75 and table['sft']['n'] == 4
    assert table['sft']['tasks']['a']['mean'] == 0.5
    assert table['final']['mean'] is None and table['final']['tasks'] == {}


def test_moving_mean_uses_what_there_is():
    assert moving_mean([1.0, 0.0, 1.0, 1.0], 2) == [1.0, 0.5, 0.5, 1.0]


def episode(phase, outcome='unlabelled', robot='robot1', id_='e1'):
    return {'event': 'episode', 'robot': robot, 'id': id_, 'task': 'place', 'phase': phase,
            'outcome': outcome, 'detail': ''}


def policy(loads, step=0):
    return {'event': 'policy', 'robot': 'robot1', 'state': 'acting', 'reason': '', 't': 0.0,
            'checkpoint': 'abc', 'step': step, 'loads': loads, 'late_ticks': 0, 'ticks': 5,
            'starved_ticks': 0, 'latency_p50': None, 'latency_p99': None}


def test_an_episode_counts_once_when_it_is_over_with_its_takeovers():
    state = DemoState(phase='deploy')
    takeover = {'event': 'intervention', 'robot': 'robot1', 'id': 'e1', 'reason': '',
                'started': True}
    for event in (episode('idle', 'success', id_='old'), episode('running'), takeover,
                  {**takeover, 'started': False}, episode('labelling'), episode('idle', 'success'),
                  episode('idle', 'success')):
        state.apply(event)
    assert [(e.id, e.outcome, e.takeovers) for e in state.of_phase('deploy')] == [
        ('e1', 'success', 1)]


def test_counters_survive_the_restart_of_a_process():
    state = DemoState()
    for loads in (1, 2, 0, 1):
        state.apply(policy(loads))
    assert state.total('loads') == 3


def test_news_are_tried_once_an_episode_with_them_is_over():
    def driven(robot, *steps):
        return SimpleNamespace(robot=robot, checkpoints=[{'step': step} for step in steps])
    assert robots_with_news([driven('robot1', 0), driven('robot2')]) == set()
    assert robots_with_news([driven('robot1', 0), driven('robot2', 50)]) == {'robot2'}


def test_unknown_events_are_ignored():
    DemoState().apply({'event': 'tomorrow'})


def plain_view(state, clock):
    stream = io.StringIO()
    return LiveView(state, 'demo', Console(file=stream, width=200), clock), stream


def test_plain_lines_come_at_intervals_and_say_what_matters():
    now = [0.0]
    state = DemoState(phase='deploy')
    view, stream = plain_view(state, lambda: now[0])
    state.apply(episode('running'))
    state.apply(episode('idle', 'success'))
    with view:
        view.begin('deploy', 60.0)
        for now[0] in (1.0, 2.0, 3.0, 7.0):
            view.update()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and '1 episodes | success 1.00 | takeovers 0.00' in lines[-1]


def test_the_live_picture_renders_with_and_without_data():
    state = DemoState(phase='deploy')
    view, _ = plain_view(state, lambda: 0.0)
    console = Console(file=io.StringIO(), width=120)
    console.print(view.render())
    state.apply(episode('running'))
    state.apply(policy(1, 50))
    console.print(view.render())
    assert 'robot1' in console.file.getvalue()


def test_sparkline_ends_with_the_present_mean():
    assert sparkline([0.0, 1.0], window=2) == '▁▅ 0.50'


def test_quick_is_one_task_with_state_and_other_seeds_give_other_starts(tmp_path):
    one = load_demo_config(quick=True, out=tmp_path, seed=0)
    two = load_demo_config(quick=True, out=tmp_path, seed=1)
    assert one.tasks == ('place',) and one.observation == 'state'
    last = one.deploy_seed + one.robots * one.seed_stride
    assert two.deploy_seed >= last and two.evaluate_seed == one.evaluate_seed


def test_minutes_scale_every_phase(tmp_path):
    config = load_demo_config(out=tmp_path)
    half = load_demo_config(out=tmp_path, minutes=1.0)
    ratios = {round(getattr(half, key) / getattr(config, key), 6)
              for key in ('demonstrate_s', 'sft_s', 'deploy_s', 'dagger_s', 'evaluate_s')}
    assert len(ratios) == 1


@pytest.mark.parametrize(('values', 'message'), [
    ({'observation': 'smell'}, "'smell' is not one of state, pixels"),
    ({'tasks': ['juggle']}, "task 'juggle' is not one of"),
])
def test_bad_settings_are_refused(values, message):
    with pytest.raises(DemoConfigError, match=message):
        load_demo_config(**values)


def test_an_earlier_run_is_kept_once_and_foreign_files_never_touched(tmp_path):
    out = tmp_path / 'demo'
    prepare_folder(out)
    (out / 'summary.json').write_text('{}')
    prepare_folder(out)
    assert (tmp_path / 'demo.previous' / 'summary.json').is_file()
    assert not (out / 'summary.json').exists()
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'thesis.tex').write_text('x')
    with pytest.raises(DemoError, match='not a demonstration'):
        prepare_folder(mine)
    assert (mine / 'thesis.tex').is_file()


def test_a_gap_in_a_series_breaks_the_line_and_the_page_needs_no_network():
    plot = Plot((0, 3), (0, 1))
    plot.line([0, 1, 2, 3], [0.1, None, 0.3, 0.4], '#123456', 'one name')
    svg = plot.svg()
    path = re.search(r'<path d="([^"]*)"[^>]*#123456', svg).group(1)
    assert path.count('M') == 2 and '>one name<' in svg
    assert 'http' not in re.sub(r'xmlns(:xlink)?="[^"]*"', '', svg)


def test_events_are_json_without_nan(capsys):
    pytest.importorskip('lwd_msgs')
    from lwd_bringup.monitor_node import emit, MARK
    emit({'event': 'learner', 'tau': float('nan')})
    line = capsys.readouterr().out
    assert line.startswith(MARK) and json.loads(line[len(MARK):])['tau'] is None


def test_a_seeing_value_function_looks_where_the_rollout_went():
    from lwd_bringup.demo.values import look
    from lwd_learner.convert import from_rollout
    from lwd_sim.collect import demonstrate
    from lwd_sim.world import World

    class Eyes:
        def features_batch(self, images, joints):
            means = np.array([frame['head'].mean() for frame in images], np.float32)
            return np.column_stack([means, joints[:, 0]])

    episode = demonstrate(World('place'), seed=3)
    seen = look(episode, Eyes())
    assert seen.shape == (episode.steps, 2) and np.ptp(seen[:, 0]) > 0
    arrays = from_rollout(episode, 'shown', 'online', features=seen)
    assert set(arrays.inputs) == {'joints', 'features'}
    assert np.array_equal(arrays.inputs['features'], seen)
