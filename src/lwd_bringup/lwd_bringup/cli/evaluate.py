# SPDX-License-Identifier: Apache-2.0
"""`lwd evaluate`: how often a checkpoint succeeds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_bringup.paths import default_store


def evaluate(
    checkpoint: Annotated[str, typer.Argument(
        help="Digest or how it starts, 'stable' or 'candidate', or a checkpoint's folder.")],
    store: Annotated[str, typer.Option(
        help='Store folder (default: LWD_STORE or ./data/store).')] = '',
    tasks: Annotated[str, typer.Option(help='Tasks, comma separated (default: all).')] = '',
    suite: Annotated[bool, typer.Option(
        '--suite', help='All tasks of the suite (config/tasks/suite.yaml), with scores by '
        'sub-step for the long ones.')] = False,
    episodes: Annotated[int, typer.Option(min=1, help='Starts of each task.')] = 20,
    first: Annotated[int, typer.Option(
        min=0, help='Number of the first held-out start: other starts for another look.')] = 0,
    threads: Annotated[int, typer.Option(min=1, help='Threads of PyTorch.')] = 1,
    json_file: Annotated[Path | None, typer.Option(
        '--json', help='Write the figures and every episode to this file too.')] = None,
) -> None:
    """
    Roll out a checkpoint in the simulator from held-out starts, in process, without takeovers.

    Prints success by task with Wilson 95 % intervals. State and pixel policies alike.
    """
    import sys

    from lwd_bringup.evaluation import evaluate as roll_out
    from lwd_learner.budget import progress_bar

    with progress_bar('evaluate', sys.stderr.isatty()) as bar:
        result = roll_out(checkpoint, store or default_store(),
                          [name.strip() for name in tasks.split(',') if name.strip()], episodes,
                          first, threads, bar, suite=suite)
    print(f"{result['digest'][:12]}  {result['kind']}, learner step {result['step']}, "
          f"{result['observation']} observation, held-out starts {first} to {first + episodes - 1}")
    _table(result)
    _substeps(result)
    if json_file is not None:
        import json

        from lwd_core.store import write_atomic
        write_atomic(json_file, json.dumps(result, indent=2).encode())


def _table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style='bold', pad_edge=False)
    table.add_column('task')
    scored = any(abs(row['score'] - row['mean']) > 1e-3 for row in result['tasks'].values())
    for column in ('success', '95 % interval', *(('score',) if scored else ()), 'episodes',
                   'mean s'):
        table.add_column(column, justify='right', no_wrap=True)
    rows = dict(result['tasks'])
    if len(rows) > 1:
        rows['all'] = result['all']
    for name, row in rows.items():
        table.add_row(name, f"{row['mean']:.2f}", f"{row['low']:.2f} - {row['high']:.2f}",
                      *((f"{row['score']:.2f}",) if scored else ()), str(row['n']),
                      f"{row['seconds']:.1f}")
    Console().print(table)


def _substeps(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style='bold', pad_edge=False)
    for column in ('sub-step', 'mean', '1', '0.5', '0'):
        table.add_column(column, justify='left' if column == 'sub-step' else 'right', no_wrap=True)
    for task, row in result['tasks'].items():
        for stage in row.get('substeps', ()):
            table.add_row(f"{task}: {stage['name']}", f"{stage['mean']:.2f}",
                          *(str(stage[value]) for value in ('1', '0.5', '0')))
    if table.row_count:
        Console().print(table)
