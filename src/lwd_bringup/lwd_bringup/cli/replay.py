# SPDX-License-Identifier: Apache-2.0
"""`lwd replay`: publish a recorded episode again, or show it to a policy and compare."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer


def replay(
    bag: Annotated[str, typer.Argument(
        help="An episode's folder, an .mcap, or how its id starts (with --store).")],
    rate: Annotated[float, typer.Option(help='Speed; 1: as recorded.')] = 1.0,
    start: Annotated[float, typer.Option(min=0.0, help='Offset into the recording, s.')] = 0.0,
    loop: Annotated[bool, typer.Option(help='Start again at the end.')] = False,
    topics: Annotated[str, typer.Option(
        help='Topics to publish, comma separated, with * and ? (default: all but those that move '
        'a robot; name `command` to publish it).')] = '',
    namespace: Annotated[str, typer.Option(
        help='Namespace to publish into (default: as recorded).')] = '',
    force: Annotated[bool, typer.Option(
        help='Publish although other nodes live in that namespace.')] = False,
    shadow: Annotated[str, typer.Option(
        metavar='CHECKPOINT', help='Show the episode to this checkpoint (how its digest starts, a '
        'channel, or `recorded`) in a real policy node and compare what it would do.')] = '',
    store: Annotated[str, typer.Option(
        help='Store of the id and the checkpoint (default: the one the bag lies in, else '
        'LWD_STORE or ./data/store).')] = '',
    out: Annotated[Path | None, typer.Option(
        help='Folder of shadow.html and shadow.json (default: results/shadow/EPISODE).')] = None,
    domain: Annotated[int | None, typer.Option(
        min=0, max=101, help='ROS_DOMAIN_ID to use.')] = None,
    run_dir: Annotated[Path | None, typer.Option(
        help='Folder for logs and parameter files (default: data/runs/replay-TIME).')] = None,
    dry_run: Annotated[bool, typer.Option(help='Print the processes and start nothing.')] = False,
) -> None:
    """
    Publish a recorded episode again over DDS, with its timing, types and QoS.

    With --shadow nothing is published to robots: a policy node and the recording meet in a
    namespace of their own, in lockstep, and each would-be action is compared with the executed one.
    """
    from lwd_bringup.cli.up import _print_graph, run_graph
    from lwd_bringup.graph import build_graph, check_files

    path, place = _find(bag, store)
    run_dir = run_dir or Path('data/runs') / f'replay-{datetime.now().strftime("%Y%m%d-%H%M%S")}'
    values: dict[str, Any] = {'bag': str(path), 'namespace': namespace}
    if shadow:
        values |= _shadow_values(path, shadow, place, out, run_dir, dry_run)
    else:
        values |= {'rate': rate, 'start': start, 'loop': loop, 'topics': topics, 'force': force}
    graph = build_graph('replay', **values)
    check_files(graph)
    if dry_run:
        _print_graph(graph)
        return
    run_graph(graph, run_dir, domain)


def _find(bag: str, store: str) -> tuple[Path, str]:
    """Return an existing path as it is, else the folder of the episode whose id starts so; and
    the store it belongs to.
    """
    from lwd_bringup.paths import default_store
    path = Path(bag).resolve()
    if path.exists():
        folder = path.parent if path.is_file() else path
        inside = len(folder.parents) > 3 and folder.parents[2].name == 'episodes'
        return path, store or (str(folder.parents[3]) if inside else default_store())
    from lwd_bringup.value.sources import find_bag
    place = store or default_store()
    return find_bag(bag, place), place


def _shadow_values(path: Path, wanted: str, place: str, out: Path | None, run_dir: Path,
                   dry_run: bool) -> dict[str, Any]:
    import yaml

    from lwd_core.episode import EpisodeMeta
    from lwd_core.store import open_store, write_atomic
    folder = path.parent if path.is_file() else path
    meta = EpisodeMeta.read(folder)
    digest = resolve_checkpoint(open_store(place, create=False), wanted, meta)
    from lwd_bringup.shadow.feed import read_recording
    robot_file = run_dir / 'robot.yaml'
    if not dry_run:
        write_atomic(robot_file, yaml.safe_dump(meta.robot_spec, sort_keys=False).encode())
    return {'bag': str(folder), 'robot': meta.robot, 'shadow': digest, 'store': place,
            'robot_file': '' if dry_run else str(robot_file),
            'backend': read_recording(folder).backend,
            'out': str(out or Path('results') / 'shadow' / meta.id)}


def resolve_checkpoint(store: Any, wanted: str, meta: Any) -> str:
    """Return the whole digest of a checkpoint by its start, a channel, or 'recorded'."""
    from lwd_core.checkpoint import list_checkpoints, read_channel
    if wanted == 'recorded':
        if not meta.checkpoints:
            raise ValueError(f'{meta.id} was driven by no checkpoint: name one with --shadow, see '
                             '`lwd checkpoints list`')
        wanted = str(meta.checkpoints[-1]['digest'])
    elif wanted.isidentifier() and not set(wanted) <= set('0123456789abcdef'):
        ref = read_channel(store, wanted)
        if ref is None:
            raise ValueError(f"{store.url} has no channel '{wanted}'; see `lwd checkpoints list`")
        return str(ref.digest)
    found = [ref for ref in list_checkpoints(store) if ref.digest.startswith(wanted)]
    if len(found) != 1:
        what = 'no checkpoint starts' if not found else f'{len(found)} checkpoints start'
        raise ValueError(f"{what} with '{wanted[:64]}' in {store.url}; see `lwd checkpoints list` "
                         '(the learner keeps the newest ones only)')
    return str(found[0].digest)
