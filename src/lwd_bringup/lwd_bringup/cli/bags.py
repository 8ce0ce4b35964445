# SPDX-License-Identifier: Apache-2.0
"""`lwd bags`: the files behind the episodes: are they whole, and if not, what can be saved."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_bringup.paths import default_store

app = typer.Typer(no_args_is_help=True, help='List, verify and recover bags.')
_STORE = Annotated[str, typer.Option(help='Store (default: LWD_STORE or ./data/store).')]


@app.command('list')
def list_(store: _STORE = '', spool: Annotated[list[Path] | None, typer.Option(
        help='Spool of a recorder (default: those in the store).')] = None) -> None:
    """List what recorders have not handed over yet, and count what is in the store."""
    from lwd_core.episode.check import spool_bags
    from lwd_core.episode.meta import list_episodes
    from lwd_core.store import open_store

    opened = open_store(store or default_store(), create=False)
    for folder in spool or _spools(opened):
        for bag in spool_bags(folder):
            print(f'{bag.state:7} {bag.bytes / 1e6:9.1f} MB  {bag.path}  ({bag.detail})')
    print(f'{len(list_episodes(opened))} whole episodes in {opened.url}')


@app.command()
def verify(
    episodes: Annotated[list[str] | None, typer.Argument(
        help='Episode folders, or ids (or how they start) in the store; all if none is named.',
    )] = None,
    store: _STORE = '',
) -> None:
    """Read bags from end to end and compare digests, checksums and counts; exit 1 if one fails."""
    from lwd_core.episode.check import verify as problems_of

    failed = count = 0
    for folder in _wanted(episodes or [], store or default_store()):
        problems = problems_of(folder)
        count += 1
        failed += bool(problems)
        print(f'{"damaged" if problems else "whole":8} {folder}', flush=True)
        for problem in problems:
            print(f'         {problem}')
    print(f'{count} episodes, {failed} damaged')
    if failed:
        raise typer.Exit(1)


@app.command()
def recover(
    paths: Annotated[list[Path] | None, typer.Argument(
        help='Bag files, episode folders or spools (default: the spools in the store).')] = None,
    output: Annotated[Path | None, typer.Option(
        help='New folder for the bag made of a file (default: beside it, *-recovered).')] = None,
    store: _STORE = '',
) -> None:
    """
    Make whole bags of what a crash or a full disk left behind.

    A file is left as it is and a new bag is written; an episode of a spool is completed in place,
    and the recorder hands it over when it is started. Exit 0: nothing lost, 3: some was lost,
    1: nothing could be recovered.
    """
    from lwd_core.episode import check
    from lwd_core.store import open_store

    found = []
    for path in paths or _spools(open_store(store or default_store(), create=False)):
        for one in _recover(path, output):
            found.append(one)
            print(f'{one.result.name.lower():8} {one.path}: {one.text}', flush=True)
    if not found:
        print('nothing to recover')
    raise typer.Exit(int(check.worst(found)))


def _recover(path: Path, output: Path | None) -> Any:
    from lwd_core.episode import check

    if path.is_file():
        yield check.recover_file(path, output or path.with_name(
            path.name.split('.')[0] + '-recovered'))
        return
    if not path.is_dir():
        raise ValueError(f'{path} is not there: name a bag file, an episode folder or a spool')
    if any(entry.name.startswith(path.name) and entry.is_file() for entry in path.iterdir()):
        with _held(path.parent):
            yield check.recover_folder(path)
        return
    with _held(path):
        for bag in check.spool_bags(path):
            if bag.state == 'open':
                yield check.recover_folder(bag.path)


def _held(spool: Path) -> Any:
    """Hold a spool, so that no recorder writes what is being recovered."""
    import contextlib

    from lwd_logger.lock import Lock
    if not (spool / '.lock').is_file():
        return contextlib.nullcontext()
    return contextlib.closing(Lock(spool / '.lock', 'recorder'))


def _spools(store: Any) -> list[Path]:
    """Return the spools in a folder store; a bucket has none."""
    from lwd_core.store import FolderStore
    top = store.path / '.spool' if isinstance(store, FolderStore) else None
    return sorted(path for path in top.iterdir() if path.is_dir()) if top and top.is_dir() else []


def _wanted(episodes: list[str], store: str) -> Any:
    from lwd_core.episode.meta import list_episodes
    from lwd_core.store import open_store

    names = [name for name in episodes if not Path(name).is_dir()]
    yield from (Path(name) for name in episodes if Path(name).is_dir())
    if names or not episodes:
        opened = open_store(store, create=False)
        listed = list_episodes(opened)
        for name in names or ['']:
            found = [path for path in listed if path.rsplit('/', 1)[1].startswith(name)]
            if name and not found:
                raise ValueError(f"no episode starts with '{name}' in {store}; see `lwd episodes "
                                 'list`')
            yield from map(opened.local, found)
