# SPDX-License-Identifier: Apache-2.0
"""`lwd episodes`: what the robots have recorded."""

from typing import Annotated, Any

import typer

from lwd_bringup.paths import default_store

app = typer.Typer(no_args_is_help=True, help='List, show and label recorded episodes.')
_STORE = Annotated[str, typer.Option(help='Store folder (default: LWD_STORE or ./data/store).')]


@app.command('list')
def list_(
    store: _STORE = '',
    robot: Annotated[str, typer.Option(help='Only of this robot.')] = '',
    task: Annotated[str, typer.Option(help='Only of this task.')] = '',
    outcome: Annotated[str, typer.Option(
        help='Only with this outcome [success | failure | unlabelled | discarded].')] = '',
    takeovers: Annotated[bool, typer.Option(help='Only with at least one takeover.')] = False,
    limit: Annotated[int, typer.Option(min=1, help='Newest so many.')] = 50,
) -> None:
    """List episodes, newest last."""
    from lwd_bringup.catalogue import episode_rows

    wanted = {'robot': robot, 'task': task, 'outcome': outcome}
    rows = [row for row in episode_rows(store or default_store())
            if all(not value or str(row[key]) == value for key, value in wanted.items())
            and (not takeovers or row['takeovers'])]
    _table(('episode', 'robot', 'task', 'outcome', 'seconds', 'takeovers', 'checkpoint'),
           rows[-limit:])
    done = sum(row['outcome'] == 'success' for row in rows)
    print(f'{len(rows)} episodes, {done} successful')


@app.command()
def show(episode: Annotated[str, typer.Argument(help='Episode id, or how it starts.')],
         store: _STORE = '') -> None:
    """Print everything that was noted about one episode."""
    from lwd_bringup.catalogue import find_episode
    path, meta = find_episode(store or default_store(), episode)
    print(f'# {path}')
    print(meta.to_json().decode(), end='')


@app.command()
def label(
    episode: Annotated[str, typer.Argument(help='Episode id, or how it starts.')],
    outcome: Annotated[str, typer.Argument(help='success, failure, unlabelled or discarded.')],
    store: _STORE = '',
    who: Annotated[str, typer.Option(help='Who says so (default: the user).')] = '',
) -> None:
    """Change the outcome of a recorded episode; the old one stays in its record."""
    import getpass

    from lwd_bringup.catalogue import relabel
    meta = relabel(store or default_store(), episode, outcome, who or getpass.getuser())
    print(f'{meta.id}: {meta.outcome} ({meta.detail})')


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
