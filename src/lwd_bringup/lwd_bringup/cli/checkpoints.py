# SPDX-License-Identifier: Apache-2.0
"""`lwd checkpoints`: what the learner has published and what the robots should run."""

from typing import Annotated, Any

import typer

from lwd_bringup.paths import default_store

app = typer.Typer(no_args_is_help=True, help='List, show, verify checkpoints; set channels.')
_STORE = Annotated[str, typer.Option(help='Store folder (default: LWD_STORE or ./data/store).')]
_WHICH = Annotated[str, typer.Argument(help='Digest, or how it starts.')]
CHANNELS = ('stable', 'candidate')


def _open(store: str) -> Any:
    from lwd_core.store import open_store
    return open_store(store or default_store(), create=False)


def _find(store: Any, digest: str) -> Any:
    from lwd_core.checkpoint import list_checkpoints
    found = [ref for ref in list_checkpoints(store) if ref.digest.startswith(digest)]
    if len(found) != 1:
        what = 'no checkpoint starts' if not found else f'{len(found)} checkpoints start'
        raise ValueError(f"{what} with '{digest}' in {store}; see `lwd checkpoints list`")
    return found[0]


@app.command('list')
def list_(store: _STORE = '') -> None:
    """List checkpoints by learner step, with the channels that point at them."""
    from lwd_core.checkpoint import list_checkpoints, read_channel
    opened = _open(store)
    channels = {name: read_channel(opened, name) for name in CHANNELS}
    for ref in list_checkpoints(opened):
        tags = [name for name, target in channels.items() if target and target.digest == ref.digest]
        print(f"{ref.digest[:12]}  step {ref.step:>8}  {ref.uri}  {' '.join(tags)}".rstrip())


@app.command()
def show(digest: _WHICH, store: _STORE = '') -> None:
    """Print a checkpoint's manifest."""
    opened = _open(store)
    print(opened.get(f'{_find(opened, digest).uri}/manifest.json').decode())


@app.command()
def verify(digest: _WHICH, store: _STORE = '',
           robot_file: Annotated[str, typer.Option(help='Check that it fits this robot.')] = '',
           ) -> None:
    """Check every digest, shape, weight and normalisation of a checkpoint."""
    from lwd_core.checkpoint import load_checkpoint
    from lwd_core.robot import RobotSpec
    opened = _open(store)
    robot = RobotSpec.from_yaml(robot_file) if robot_file else None
    ref = _find(opened, digest)
    contents = load_checkpoint(opened, ref, robot)
    print(f'{ref.digest[:12]} is whole: {len(contents.tensors)} tensors, learner step {ref.step}')


@app.command('set')
def set_(channel: Annotated[str, typer.Argument(help="'stable' or 'candidate'.")], digest: _WHICH,
         store: _STORE = '') -> None:
    """Point a channel at a checkpoint after verifying it; robots load it between episodes."""
    from lwd_core.checkpoint import load_checkpoint, set_channel
    if channel not in CHANNELS:
        raise ValueError(f"channel '{channel}' is not one of {', '.join(CHANNELS)}")
    opened = _open(store)
    ref = _find(opened, digest)
    load_checkpoint(opened, ref, None)
    set_channel(opened, channel, ref)
    print(f'{channel} is now {ref.digest[:12]} (step {ref.step})')


@app.command()
def rollback(store: _STORE = '',
             channel: Annotated[str, typer.Option(help='Channel to move back.')] = 'stable',
             ) -> None:
    """Point a channel at the checkpoint before its present one."""
    from lwd_core.checkpoint import list_checkpoints, load_checkpoint, read_channel, set_channel
    opened = _open(store)
    now = read_channel(opened, channel)
    if now is None:
        raise ValueError(f"channel '{channel}' of {opened} is not set; see `lwd checkpoints set`")
    parent = load_checkpoint(opened, now, None).parent
    earlier = [ref for ref in list_checkpoints(opened)
               if ref.digest == parent or (not parent and ref.step < now.step)]
    if not earlier:
        raise ValueError(f'{now.digest[:12]} is the first checkpoint of {opened}')
    set_channel(opened, channel, earlier[-1])
    print(f'{channel} went back from {now.digest[:12]} to {earlier[-1].digest[:12]}')
