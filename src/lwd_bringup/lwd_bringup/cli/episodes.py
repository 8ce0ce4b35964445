# SPDX-License-Identifier: Apache-2.0
"""`lwd episodes`: what the robots have recorded."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_bringup.paths import default_store

app = typer.Typer(no_args_is_help=True,
                  help='List, show, audit, label, export and import recorded episodes.')
_STORE = Annotated[str, typer.Option(help='Store (default: LWD_STORE or ./data/store).')]
_EPISODE = Annotated[str, typer.Argument(help='Episode id, or how it starts.')]
_ROBOT = Annotated[str, typer.Option(help='Only of this robot.')]
_TASK = Annotated[str, typer.Option(help='Only of this task.')]
_OUTCOME = Annotated[str, typer.Option(
    help='Only with this outcome [success | failure | unlabelled | discarded].')]
_CHECKPOINT = Annotated[str, typer.Option(
    help='Only where a checkpoint acted whose digest starts so.')]
_TAKEOVERS = Annotated[bool, typer.Option(help='Only with at least one takeover.')]
_LEAST = Annotated[float, typer.Option(help='Least share of the time that a person drove.')]
_MOST = Annotated[float, typer.Option(help='Largest share of the time that a person drove.')]
_SINCE = Annotated[str, typer.Option(help='Recorded on this day or later, YYYY-MM-DD.')]
_UNTIL = Annotated[str, typer.Option(help='Recorded on this day or earlier.')]
_ROBOT_FILE = Annotated[Path | None, typer.Option(help='Robot YAML (default: as recorded).')]
COLUMNS = ('episode', 'robot', 'task', 'outcome', 'seconds', 'takeovers', 'human', 'checkpoint')


@app.command('list')
def list_(
    store: _STORE = '', robot: _ROBOT = '', task: _TASK = '', outcome: _OUTCOME = '',
    checkpoint: _CHECKPOINT = '', takeovers: _TAKEOVERS = False, min_takeover: _LEAST = 0.0,
    max_takeover: _MOST = 1.0, since: _SINCE = '', until: _UNTIL = '',
    limit: Annotated[int, typer.Option(min=1, help='Newest so many.')] = 50,
) -> None:
    """List episodes, newest last."""
    from lwd_bringup.catalogue import episode_rows, Filter

    wanted = Filter(robot, task, outcome, checkpoint, min_takeover, max_takeover, takeovers,
                    since, until)
    rows = episode_rows(store or default_store(), wanted)
    _table(COLUMNS, rows[-limit:])
    done = sum(row['outcome'] == 'success' for row in rows)
    print(f'{len(rows)} episodes, {done} successful')


@app.command()
def show(episode: _EPISODE, store: _STORE = '', robot_file: _ROBOT_FILE = None,
         json: Annotated[bool, typer.Option('--json', help='Print plain JSON only.')] = False,
         ) -> None:
    """Print what was noted about one episode, and what its audit found."""
    import json as json_

    from lwd_bringup.audits import audit_of
    from lwd_bringup.catalogue import find_episode
    from lwd_bringup.substeps import label_lines
    path, meta = find_episode(store or default_store(), episode)
    audit = audit_of(path, meta, robot_file)
    if json:
        print(json_.dumps({'episode': json_.loads(meta.to_json()), 'audit': audit.to_dict()},
                          indent=2))
        return
    print(f'# {path}')
    print(meta.to_json().decode(), end='')
    for line in label_lines(meta):
        print(f'# {line}')
    _print_audit(audit)


@app.command()
def audit(
    store: _STORE = '', robot: _ROBOT = '', task: _TASK = '', outcome: _OUTCOME = '',
    checkpoint: _CHECKPOINT = '', since: _SINCE = '', until: _UNTIL = '',
    robot_file: _ROBOT_FILE = None,
) -> None:
    """Audit episodes: use, use with warning, quarantine; one line each, with the reasons."""
    from collections import Counter

    from lwd_bringup.audits import audit_of
    from lwd_bringup.catalogue import Filter, open_catalogue, select
    opened = open_catalogue(store or default_store())
    counts: Counter[str] = Counter()
    wanted = Filter(robot=robot, task=task, outcome=outcome, checkpoint=checkpoint, since=since,
                    until=until)
    for path, meta in select(opened, wanted):
        found = audit_of(opened.local(path), meta, robot_file)
        counts[found.verdict] += 1
        print(f"{path.rsplit('/', 1)[1]}  {found.verdict}"
              + ''.join(f'\n    {text}' for text in found.warnings))
    print(', '.join(f'{number} {verdict}' for verdict, number in counts.items()) or 'no episodes')


@app.command()
def label(
    episode: _EPISODE,
    outcome: Annotated[str, typer.Argument(
        help='success, failure, unlabelled or discarded; may be left out with --scores.')] = '',
    scores: Annotated[str, typer.Option(
        help="Scores of the task's sub-steps, 0, 0.5 or 1: 'tea=1, lift the crate=0.5'. One may be "
             'named by how it starts; one that is not named keeps its score.')] = '',
    tasks_file: Annotated[Path | None, typer.Option(
        help='Task YAML that names the sub-steps (default: where config/tasks has the task).')
    ] = None,
    store: _STORE = '',
    who: Annotated[str, typer.Option(help='Who says so (default: the user).')] = '',
) -> None:
    """Change outcome and sub-step scores of a recorded episode; the old ones stay in its record."""
    import getpass

    from lwd_bringup.catalogue import relabel
    from lwd_bringup.substeps import describe, stages_of
    if not outcome and not scores:
        raise ValueError('say an outcome (success, failure, unlabelled, discarded), --scores, '
                         'or both')
    meta = relabel(store or default_store(), episode, outcome, who or getpass.getuser(), scores,
                   tasks_file)
    last = meta.labels[-1]
    print(f'{meta.id}: {meta.outcome} (was {last["was"]} by {last["was_by"] or "nobody"})')
    if scores:
        stages = stages_of(meta.task, tasks_file)
        print(f'    {describe(stages, last["scores"])}'
              f' (was {describe(stages, last["were"]) or "not scored"})')


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help='Folder (LeRobot) or file (Rerun) to write; it must '
                                             'not exist.')],
    episodes: Annotated[list[str] | None, typer.Argument(
        help='Episode ids, or how they start (default: all that the filters leave).')] = None,
    lerobot: Annotated[bool, typer.Option('--lerobot', help='LeRobot dataset v3.0.')] = False,
    rerun: Annotated[bool, typer.Option('--rerun', help='Rerun recording of one episode.')] = False,
    privileged: Annotated[bool, typer.Option(
        help="LeRobot: add the simulator's state as observation.environment_state.")] = False,
    store: _STORE = '', robot: _ROBOT = '', task: _TASK = '', outcome: _OUTCOME = '',
    checkpoint: _CHECKPOINT = '', min_takeover: _LEAST = 0.0, max_takeover: _MOST = 1.0,
    since: _SINCE = '', until: _UNTIL = '',
) -> None:
    """Write episodes in another tool's format; the filters are those of `list`."""
    from lwd_bringup.catalogue import Filter, open_catalogue, select
    if lerobot == rerun:
        raise ValueError('choose a format: --lerobot or --rerun')
    opened = open_catalogue(store or default_store())
    wanted = Filter(robot, task, outcome, checkpoint, min_takeover, max_takeover, False, since,
                    until, tuple(episodes or ()))
    folders = [opened.local(path) for path, meta in select(opened, wanted) if meta is not None]
    if not folders:
        raise ValueError('no episode matches; see `lwd episodes list`')
    if lerobot:
        from lwd_bringup.export.lerobot import export_lerobot
        count, frames = export_lerobot(folders, out, privileged=privileged, say=print)
        print(f'{out}: LeRobot v3.0, {count} episodes, {frames} frames')
        return
    if len(folders) != 1:
        raise ValueError(f'--rerun writes one episode, {len(folders)} match: name one')
    from lwd_bringup.export.rerun import export_rerun
    export_rerun(folders[0], out)
    print(f'{out}: open it with `rerun {out}`')


@app.command('import')
def import_(
    source: Annotated[Path, typer.Argument(
        help='LeRobot v3 folder, or rosbag2 folder, .mcap or .db3.')],
    task: Annotated[str, typer.Option(help='Task the demonstrations show.')],
    robot_file: Annotated[Path, typer.Option(help='Robot YAML of the robot they are for.')],
    instruction: Annotated[str, typer.Option(
        help='What the robot was told (default: as recorded, else the task).')] = '',
    outcome: Annotated[str, typer.Option(
        help='Outcome where the source does not say [success | failure | unlabelled].')
    ] = 'success',
    mapping: Annotated[Path | None, typer.Option(
        help='YAML: which of their names are which of ours.')] = None,
    robot: Annotated[str, typer.Option(
        help="Robot's name in the store (default: that of the robot file).")] = '',
    store: _STORE = '',
) -> None:
    """Take demonstrations of others into the store; each once, however often this is called."""
    from lwd_bringup.importing.run import import_demonstrations
    added, known = import_demonstrations(
        source, store or default_store(), robot_file, task, instruction, outcome, mapping, robot,
        say=print)
    print(f'{added} episodes imported, {known} were there already')


def _print_audit(found: Any) -> None:
    print(f'# audit: {found.verdict}')
    for one in found.findings:
        print(f'#   {one.level}: {one.text}')
    for name, value in found.to_dict()['facts'].items():
        if isinstance(value, dict):
            value = ', '.join(f'{key} {_short(number)}' for key, number in value.items())
        print(f'#   {name}: {_short(value)}')


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style='bold', pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    console = Console()
    # Never narrower than its content: an id that is cut off cannot be given to another command.
    content = table.__rich_measure__(console, console.options.update(width=1000)).maximum
    Console(width=max(console.width, content)).print(table)
