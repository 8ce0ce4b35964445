# SPDX-License-Identifier: Apache-2.0
"""`lwd train offline`, `lwd evaluate`, `lwd value`: without ROS, from files to files."""

import html
import json
from pathlib import Path

import cv2
import numpy as np
from offline_fixtures import run, write_config, write_episodes
import pytest

from lwd_bringup.evaluation import substeps
from lwd_bringup.value.page import chart
from lwd_bringup.value.picture import picture
from lwd_bringup.value.sources import find_learner
from lwd_bringup.value.view import chunk_starts, human_spans, ValueView
from lwd_core.checkpoint import list_checkpoints, read_channel
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.store import FolderStore
from lwd_learner.arrays import load_policy


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, str]:
    """A store with three episodes, trained offline by the command; its output."""
    top = tmp_path_factory.mktemp('offline')
    write_episodes(top / 'store/episodes/robot1/2026-01-01')
    printed = run('train', 'offline', '--data', str(top / 'store'), '--config',
                  str(write_config(top)), '--steps', '2', '--channel', 'candidate')
    return top, printed


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'data.npz', observations=rng.normal(size=(40, 3)),
             actions=rng.uniform(-1, 1, (40, 2)), rewards=rng.normal(size=40),
             terminals=np.arange(40) % 10 == 9, timeouts=np.zeros(40))
    write_config(tmp_path)
    return tmp_path / 'data.npz'


def test_help_names_every_way_in():
    assert all(word in run('train', 'offline', '--help') for word in ('--npz', '--data', '--out'))
    assert 'held-out' in run('evaluate', '--help') and 'chunk' in run('value', '--help')


def test_arrays_become_a_policy_that_python_calls(npz: Path):
    out = npz.parent / 'out'
    printed = run('train', 'offline', '--npz', str(npz), '--out', str(out), '--horizon', '3',
                  '--returns', '-8', '8', '--config', str(npz.parent / 'tiny.yaml'))
    assert 'returns -8 to 8 are values 0 to 1' in printed
    policy = load_policy(str(out))
    assert policy.act(np.zeros(3)).shape == (3, 2)
    with pytest.raises(RuntimeError, match='was trained from arrays and drives no robot'):
        run('evaluate', 'stable', '--store', str(out))


@pytest.mark.parametrize(('arguments', 'message'), [
    ((), 'give either --npz FILE or --data STORE'),
    (('--npz', 'a.npz', '--data', 'b'), 'give either --npz FILE or --data STORE'),
    (('--npz', '/nowhere.npz'), 'nowhere.npz: is not there: give an .npz with observations'),
    (('--data', '/nowhere'), 'store folder /nowhere does not exist'),
    (('--data', '.', '--horizon', '4'), 'belong to --npz'),
    (('--data', '.', '--channel', 'prod'), "--channel: is 'prod', must be stable or candidate"),
    (('--data', '.', '--observation', 'rays'), "--observation: is 'rays', must be state or pixels"),
])
def test_wrong_options_name_the_next_step(arguments, message):
    with pytest.raises((ValueError, OSError, RuntimeError), match=message):
        run('train', 'offline', *arguments)


def test_arrays_are_never_put_among_a_robots_episodes(npz: Path):
    (npz.parent / 'store/episodes').mkdir(parents=True)
    with pytest.raises(ValueError, match="holds a robot's episodes"):
        run('train', 'offline', '--npz', str(npz), '--out', str(npz.parent / 'store'))


def test_a_folder_without_episodes_is_no_store(tmp_path: Path):
    with pytest.raises(ValueError, match='holds no episodes: give a store'):
        run('train', 'offline', '--data', str(tmp_path))


def test_a_store_is_trained_on_from_its_demonstrations(trained):
    top, printed = trained
    store = FolderStore(top / 'store')
    ref = read_channel(store, 'candidate')
    assert ref.digest[:12] in printed and read_channel(store, 'stable') is None
    assert len(list_checkpoints(store)) == 2  # the clone it began with, and the result
    assert find_learner(top / 'store/episodes/robot1/2026-01-01/demo', None).parts[-2:] == (
        'offline', 'offline')


def test_evaluation_prints_intervals_and_writes_every_episode(trained):
    top, _ = trained
    arguments = ('--store', str(top / 'store'), '--tasks', 'place', '--episodes', '1')
    printed = run('evaluate', 'candidate', *arguments, '--first', '3', '--json',
                  str(top / 'evaluation.json'))
    result = json.loads((top / 'evaluation.json').read_text())
    assert [row['seed'] for row in result['rows']] == [1_000_003]
    assert result['all']['n'] == 1 and f"{result['all']['high']:.2f}" in printed
    with pytest.raises(ValueError, match="'nap' is unknown; known: place"):
        run('evaluate', 'candidate', '--store', str(top / 'store'), '--tasks', 'nap')
    with pytest.raises(ValueError, match="no checkpoint 'ffff' in .*lwd checkpoints list"):
        run('evaluate', 'ffff', '--store', str(top / 'store'))


def test_the_suite_is_evaluated_with_sub_step_scores(trained):
    top, _ = trained
    printed = run('evaluate', 'candidate', '--store', str(top / 'store'), '--suite', '--tasks',
                  'restock_item,serve', '--episodes', '1', '--json', str(top / 'suite.json'))
    tasks = json.loads((top / 'suite.json').read_text())['tasks']
    assert 'substeps' not in tasks['restock_item']  # binary
    stages = tasks['serve']['substeps']
    assert len(stages) == 5 and all(one['1'] + one['0.5'] + one['0'] == 1 for one in stages)
    assert tasks['serve']['score'] == pytest.approx(np.mean([one['mean'] for one in stages]))
    assert all(f"serve: {one['name']}" in printed for one in stages)


def test_sub_steps_are_counted_by_what_they_scored():
    rows = substeps(('open', 'close'), [(1.0, 0.0), (0.5, 0.0), (1.0, 1.0)])
    assert rows[0] == {'name': 'open', 'mean': 0.8333, '1': 2, '0.5': 1, '0': 0}
    assert (rows[1]['mean'], rows[1]['0']) == (0.3333, 2)


def test_values_are_drawn_with_interventions_chunks_and_a_filmstrip(trained, tmp_path: Path):
    top, _ = trained
    printed = run('value', 'helped', '--store', str(top / 'store'), '--config',
                  str(top / 'tiny.yaml'), '--out', str(tmp_path))
    assert '40 ticks' in printed and '1 times a person drove' in printed and '10 frames' in printed
    page = (tmp_path / 'value.html').read_text()
    assert page.count('data:image/jpeg;base64,') == 10 and 'data:image/png;base64,' in page
    assert 'src="http' not in page and 'href="http' not in page
    image = cv2.imdecode(np.frombuffer((tmp_path / 'value.png').read_bytes(), np.uint8), 1)
    assert image.shape[1] > 1000


def test_a_persons_words_are_drawn_as_they_are():
    words = r'costs $5, not $\frac{6'  # TeX that does not parse
    view = ValueView(EpisodeMeta('e', 'r', 'd', 'place', words), np.arange(5) * 0.1,
                     {'mean': np.zeros(5)}, [(0.1, 0.3, words)], [0.0])
    assert picture(view).startswith(b'\x89PNG')
    assert words in html.unescape(chart(view))


def test_a_bag_without_images_has_no_filmstrip(trained, tmp_path: Path):
    top, _ = trained
    folder = top / 'store/episodes/robot1/2026-01-01/fail'
    bag = next(folder.glob('*.mcap'))
    printed = run('value', str(bag), '--config', str(top / 'tiny.yaml'), '--out', str(tmp_path))
    assert 'the bag holds no images' in printed
    assert 'class="frames"' not in (tmp_path / 'value.html').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    (('BAG', '--learner', '/nowhere'), 'no state.safetensors in /nowhere.*with --learner'),
    (('STORE',), 'has no episode.json: not a recorded episode'),
    (('BAG', '--camera', 'tail', '--config', 'TINY'), "no camera 'tail'; it has head"),
    (('BAG',), 'does not fit the default configuration .*give --config'),
])
def test_what_is_missing_for_a_value_is_named(trained, arguments, message):
    top, _ = trained
    names = {'BAG': str(top / 'store/episodes/robot1/2026-01-01/demo'), 'STORE': str(top),
             'TINY': str(top / 'tiny.yaml')}
    with pytest.raises(ValueError, match=message):
        run('value', *(names.get(word, word) for word in arguments))


def test_spans_and_chunks_are_those_of_the_executed_ticks():
    class Data:
        ticks_ns = np.arange(10) * 100_000_000
        source = np.array([1, 1, 1, 2, 2, 1, 1, 1, 2, 2], np.uint8)
        chunk_id = np.array([7, 7, 8, 0, 0, 9, 9, 9, 0, 0])

        class meta:
            interventions = [{'start_ns': 300_000_000, 'end_ns': 400_000_000, 'reason': 'dropped'}]

    assert [pytest.approx(span[:2]) for span in human_spans(Data)] == [(0.3, 0.5), (0.8, 1.0)]
    assert [span[2] for span in human_spans(Data)] == ['dropped', '']
    assert chunk_starts(Data) == pytest.approx([0.0, 0.2, 0.5])
