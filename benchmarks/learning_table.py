# SPDX-License-Identifier: Apache-2.0
"""Does LWD beat imitation and its own ablations on the same data and robot hours?

Trains and evaluates every method of the table in process, on the state or through cameras as the
profile says, from the same demonstrations, offline data and held-out starts, in pieces that resume:
a killed run goes on where it was. Default: a small budget, under 3 minutes. `--full`: a night.
Writes the table, curves and value plots into results/learning_table/PROFILE/, and with --page
docs/learning_table_PROFILE.md.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
import json
import logging
import os
from pathlib import Path
import subprocess
import sys
import time
import traceback

from _table.cost import plan_table
from _table.ledger import Ledger
from _table.page import page, write_page
from _table.plan import METHODS, pieces, Profile, PROFILES
from _table.report import Row, rows_of, table
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
import yaml

from lwd_core.store import write_atomic

ROOT = Path(__file__).resolve().parents[1]
TARGET = 0.95  # average of LWD online, as in the paper


def main() -> None:
    """Run what is open, then report everything that is done."""
    options = arguments()
    profile = chosen_profile(options)
    out = options.out or ROOT / 'results' / 'learning_table' / options.profile
    ledger = Ledger(out / 'ledger.sqlite')
    recipe = kept_recipe(options.recipe, out)
    try:
        ledger.settle('budget', budget_of(profile))
        ledger.settle('recipe', recipe_of(recipe))
    except ValueError as error:
        sys.exit(f'{out}: {error}')
    if options.plan:
        print(plan_table(pieces(profile), profile, ledger.results(), options.processes))
        return
    if options.worker:
        work(out, profile, recipe, ledger)
        return
    began = time.monotonic()
    if not options.report:
        ledger.release_dead()
        run(options, profile, ledger)
    report(out, profile, recipe, ledger, options, time.monotonic() - began)


def kept_recipe(given: Path | None, out: Path) -> Path:
    """Return the run's own copy of its recipe: what is tuned elsewhere must not mix into it."""
    kept = out / 'recipe.yaml'
    if given is not None or not kept.is_file():
        write_atomic(kept, (given or ROOT / 'config/learner/demo.yaml').read_bytes())
    return kept


def budget_of(profile: Profile) -> dict[str, object]:
    """Return what must not change within a folder of results: not the seeds and methods."""
    budget: dict[str, object] = {**asdict(profile), 'methods': [], 'seeds': 0}
    if profile.observation == 'state':  # which it was before there was a choice
        del budget['observation']
    return budget


def recipe_of(path: Path) -> dict[str, object]:
    """Return what a recipe says about learning, without what only reports or publishes."""
    sections = yaml.safe_load(path.read_text())
    learning = {key: value for key, value in (sections.get('learning') or {}).items()
                if key not in ('tensorboard', 'metrics_every')}
    return {**{key: value for key, value in sections.items() if key != 'publish'},
            'learning': learning}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--profile', choices=PROFILES, default='short', help='budget')
    parser.add_argument('--full', action='store_true', help="the night's budget: --profile full")
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--seeds', type=int, default=0, help='other number of seeds')
    parser.add_argument('--tasks', default='', help='other tasks, comma separated')
    parser.add_argument('--methods', default='', help='only these, comma separated: '
                        + ', '.join(METHODS))
    parser.add_argument('--recipe', type=Path, help='learner file that all rows share (default: '
                        "the run's copy, of config/learner/demo.yaml at its start)")
    parser.add_argument('--out', type=Path, help='other folder of results')
    parser.add_argument('--plan', action='store_true',
                        help='only print the pieces with what each costs, and the sum')
    parser.add_argument('--report', action='store_true', help='only report what is done')
    parser.add_argument('--page', action='store_true', help='write docs/learning_table_PROFILE.md')
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.profile = 'full' if options.full else options.profile
    return options


def chosen_profile(options: argparse.Namespace) -> Profile:
    """Return the budget with the command line's changes."""
    profile = PROFILES[options.profile]
    changes: dict[str, object] = {}
    if options.seeds:
        changes['seeds'] = options.seeds
    for name in ('tasks', 'methods'):
        if getattr(options, name):
            changes[name] = tuple(getattr(options, name).split(','))
    unknown = set(changes.get('methods', ())) - set(METHODS)  # type: ignore[call-overload]
    if unknown:
        sys.exit(f'--methods: unknown {sorted(unknown)}; known: {", ".join(METHODS)}')
    return replace(profile, **changes)  # type: ignore[arg-type]


def run(options: argparse.Namespace, profile: Profile, ledger: Ledger) -> None:
    """Start the workers and show how far they are."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, __file__, '--worker', *sys.argv[1:]]
    workers = [subprocess.Popen(command, env=environment) for _ in range(options.processes)]
    wanted = [piece.name for piece in pieces(profile)]
    columns = (TextColumn('{task.completed}/{task.total}'), BarColumn(), TimeElapsedColumn(),
               TextColumn('{task.fields[detail]}'))
    try:
        with Progress(*columns) as progress:
            bar = progress.add_task('table', total=len(wanted), detail='')
            while any(worker.poll() is None for worker in workers):
                progress.update(bar, completed=len(set(wanted) & set(ledger.results())),
                                detail=', '.join(ledger.taken()))
                time.sleep(0.5)
            progress.update(bar, completed=len(set(wanted) & set(ledger.results())), detail='')
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()


def work(out: Path, profile: Profile, recipe: Path, ledger: Ledger) -> None:
    """Take pieces until none is left or could still open."""
    from _table.work import Bench
    import torch

    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    bench = Bench(out, profile, recipe, lambda text: None)
    plan = pieces(profile)
    while True:
        piece = ledger.take(plan)
        if piece is None:
            if not ledger.taken():
                return
            time.sleep(0.3)
            continue
        try:
            ledger.finish(piece, bench.do(piece))
        except Exception:  # one bad piece must not end the night; its error is in the ledger
            ledger.fail(piece, traceback.format_exc())
            print(f'{piece.name}: {traceback.format_exc(limit=-1)}', file=sys.stderr)


def report(out: Path, profile: Profile, recipe: Path, ledger: Ledger,
           options: argparse.Namespace, seconds: float) -> None:
    """Write table and pictures, print the table, and one JSON line last."""
    from _table.pictures import success_over_hours, values
    from _table.work import Bench

    results, plan = ledger.results(), pieces(profile)
    done = [piece for piece in plan if piece.name in results]
    rows = rows_of(profile, results)
    if not rows:
        sys.exit('nothing is evaluated yet' + ''.join(f'\n{n}: {e}' for n, e in
                                                      ledger.errors().items()))
    success_over_hours(profile, results, out / 'success.png')
    drawn = values(Bench(out, profile, recipe, lambda text: None), out / 'values.png')
    text = page(profile, options.profile, rows, results, (len(done), len(plan)), drawn)
    (out / 'table.md').write_text(text)
    if options.page:
        write_page(ROOT / 'docs', options.profile, out, text, drawn)
    print(table(profile, rows))
    for name, error in ledger.errors().items():
        print(f'failed: {name}: {error.strip().splitlines()[-1]}')
    averages = {row.title: mean(row) for row in rows}
    best = averages.get('LWD online', float('nan'))
    peer = max((value for title, value in averages.items() if not title.startswith('LWD')),
               default=float('nan'))
    print(json.dumps({
        'benchmark': 'learning_table', 'profile': options.profile, 'value': best,
        'unit': 'mean success of LWD online', 'peer': peer, 'ratio': best / peer if peer else None,
        'target': TARGET, 'met': bool(best >= TARGET and best >= max(averages.values())),
        'pieces': [len(done), len(plan)], 'averages': averages, 'seconds': round(seconds, 1)}))


def mean(row: Row) -> float:
    """Return the average over seeds of the mean score."""
    return float(np.mean([np.mean([one[2] for one in rows]) for rows in row.seeds]))


if __name__ == '__main__':
    main()
