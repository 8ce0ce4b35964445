# SPDX-License-Identifier: Apache-2.0
"""`lwd policy`: what a robot acts with, another checkpoint, and the way back."""

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="A running robot's policy: status, load, rollback.")
_ROBOT = Annotated[str, typer.Argument(help='Name of the robot: its namespace.')]
_TIMEOUT = Annotated[float, typer.Option(help='Seconds to wait for an answer.')]


def _client(robot: str, timeout: float) -> Any:
    from lwd_bringup.policy_client_node import PolicyClient
    return PolicyClient(robot.strip('/'), timeout)


@app.command()
def status(robot: _ROBOT, timeout: _TIMEOUT = 5.0) -> None:
    """Print what the robot acts with, what waits, and what was refused and why."""
    from lwd_bringup.policy_client_node import STATES
    with _client(robot, timeout) as client:
        said = client.status()
    state = STATES.get(said.state, str(said.state))
    print(f'{robot}: {state}' + (f', {said.reason}' if said.reason else ''))
    if said.checkpoint:
        print(f'  acts with {said.checkpoint[:12]} (step {said.checkpoint_step}), '
              f'computed by {said.backend}')
    if said.pending_checkpoint:
        print(f'  waits     {said.pending_checkpoint[:12]}, until the episode ends')
    if said.rejected_checkpoint:
        print(f'  refused   {said.rejected_checkpoint[:12]}: {said.rejected_reason}')
    print(f'  {said.ticks} ticks, {said.late_ticks} late, {said.starved_ticks} starved; '
          f'{said.loads} checkpoints so far')


@app.command()
def rollback(robot: _ROBOT, timeout: _TIMEOUT = 5.0) -> None:
    """Let the checkpoint before this one act at once, and never load this one again.

    To move the whole fleet back, use `lwd checkpoints rollback`.
    """
    with _client(robot, timeout) as client:
        print(f'{robot}: {client.rollback()}')


@app.command()
def load(robot: _ROBOT, digest: Annotated[str, typer.Argument(help='12 digits at least.')],
         timeout: _TIMEOUT = 5.0) -> None:
    """Load a checkpoint of the store, also an older or a refused one; it acts between episodes."""
    with _client(robot, timeout) as client:
        print(f'{robot}: {client.load(digest)}')
