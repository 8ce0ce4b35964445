# SPDX-License-Identifier: Apache-2.0
"""`lwd train`: learn without robots."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help='Train without robots and without ROS.')


@app.callback()
def train() -> None:
    """Train without robots and without ROS."""


@app.command()
def offline(
    npz: Annotated[Path | None, typer.Option(
        help='Arrays: observations [N, o], actions [N, d] in [-1, 1], rewards, terminals, '
        'timeouts [N].')] = None,
    data: Annotated[str | None, typer.Option(
        help='Store of recorded episodes: a folder (it has `episodes/`) or s3://bucket/prefix.'
        )] = None,
    out: Annotated[Path | None, typer.Option(
        help='Where to leave the result. --npz: a new store (default: data/arrays). --data: the '
        "learner's folder (default: `offline` beside the store, data/offline for a bucket); "
        'checkpoints go into the store.'
        )] = None,
    config: Annotated[Path | None, typer.Option(
        help='Learner YAML, as config/learner/default.yaml.')] = None,
    steps: Annotated[int, typer.Option(
        min=0, help='Updates; --npz: of cloning and of the offline phase each (default: as '
        'configured).')] = 0,
    seconds: Annotated[float, typer.Option(
        min=0.0, help='Time budget, whichever ends first. 0: none.')] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help='Threads of PyTorch.')] = 1,
    horizon: Annotated[int, typer.Option(
        min=0, max=1024, help='--npz: steps in a chunk (default: 4).')] = 0,
    gamma: Annotated[float, typer.Option(
        min=0.0, max=1.0, help='--npz: discount per step (default: 0.99).')] = 0.0,
    returns: Annotated[tuple[float, float] | None, typer.Option(
        help='--npz: lowest and highest discounted return; they become the values 0 and 1 '
        '(default: the range in the data).')] = None,
    initial: Annotated[str, typer.Option(
        help='--data: digest to begin with (default: the stable checkpoint; without one the '
        'demonstrations are cloned first).')] = '',
    channel: Annotated[str, typer.Option(
        help='--data: channel that shall point at the result [stable | candidate] '
        '(default: none).')] = '',
    observation: Annotated[str, typer.Option(
        help='--data: what the policy sees [state | pixels].')] = 'state',
    robot_file: Annotated[str, typer.Option(help='--data: robot YAML (default: sim.yaml).')] = '',
    tasks_file: Annotated[str, typer.Option(help='--data: task YAML (default: sim.yaml).')] = '',
) -> None:
    """
    Learn from a fixed dataset: value by DIVL, policy by QAM.

    From arrays: `lwd train offline --npz FILE`; the policy is then called from Python with
    `lwd_learner.arrays.load_policy(OUT).act(observation)`. From recorded episodes:
    `lwd train offline --data STORE`; then `lwd evaluate` and `lwd checkpoints set`.
    """
    import logging
    import sys

    if (npz is None) == (data is None):
        raise ValueError('give either --npz FILE or --data STORE; see `lwd train offline --help`')
    if observation not in ('state', 'pixels'):
        raise ValueError(f"--observation: is '{observation}', must be state or pixels")
    if channel not in ('', 'stable', 'candidate'):
        raise ValueError(f"--channel: is '{channel}', must be stable or candidate")
    from lwd_bringup import offline as training

    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    options = training.Options(config, steps, seconds, seed, threads, sys.stderr.isatty())
    if npz is not None:
        _npz(npz, out or Path('data/arrays'), options, horizon, gamma, returns)
        return
    assert data is not None
    if horizon or gamma or returns:
        raise ValueError('--horizon, --gamma and --returns belong to --npz; with --data they are '
                         'policy.horizon and replay.gamma of --config')
    work_dir = out or training.beside(data) / 'offline'
    ref, begin = training.train_store(
        data, work_dir, options, initial=initial, channel=channel, observation=observation,
        robot_file=robot_file, tasks_file=tasks_file)
    began = begin if isinstance(begin, str) else begin.digest
    print(f'{ref.digest[:12]}  offline step {ref.step}, began with {began[:12]}; critic in '
          f'{work_dir / "offline"}')
    print(f'next: lwd evaluate {ref.digest[:12]} --store {data}')


@app.command()
def online(
    store: Annotated[str, typer.Option(
        help='Store that robots record into, a folder or s3://bucket/prefix (default: LWD_STORE or '
        './data/store).')] = '',
    out: Annotated[Path | None, typer.Option(
        help="The learner's folder: index, replay, metrics, resume state (default: `learner` "
        'beside the store, data/learner for a bucket).')] = None,
    config: Annotated[Path | None, typer.Option(
        help='Learner YAML, as config/learner/default.yaml.')] = None,
    steps: Annotated[int, typer.Option(min=0, help='Updates of this run. 0: no bound.')] = 0,
    seconds: Annotated[float, typer.Option(min=0.0, help='Time of this run. 0: no bound.')] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help='Threads of PyTorch.')] = 1,
    initial: Annotated[str, typer.Option(
        help='Digest to begin with (default: what the configured channel means).')] = '',
    bootstrap: Annotated[int, typer.Option(
        min=0, help='Without a checkpoint: clone so many demonstrations first. 0: wait for one.'
        )] = 0,
    observation: Annotated[str, typer.Option(
        help='What the policy sees [state | pixels].')] = 'state',
    robot_file: Annotated[str, typer.Option(help='Robot YAML (default: sim.yaml).')] = '',
    tasks_file: Annotated[str, typer.Option(help='Task YAML (default: sim.yaml).')] = '',
) -> None:
    """
    Learn while robots work: takes in every episode of the store, trains, publishes checkpoints.

    The same as the learner node, without ROS. Ctrl-C publishes, saves and ends; the next run goes
    on where it was.
    """
    import logging
    import signal
    import sys
    import threading

    if observation not in ('state', 'pixels'):
        raise ValueError(f"--observation: is '{observation}', must be state or pixels")
    from lwd_bringup import online as learning
    from lwd_bringup.offline import beside, Options
    from lwd_bringup.paths import default_store
    from lwd_learner.online import FAULT

    logging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    place = store or default_store()
    options = Options(config, steps, seconds, seed, threads)
    tell = _Ticker(sys.stderr.isatty())
    status = learning.train_online(
        place, out or beside(place) / 'learner', options,
        learning.Deployment(observation, robot_file, tasks_file, initial, bootstrap), tell,
        stop.is_set)
    print(f'{status.phase} at step {status.step}, {sum(status.episodes)} episodes, '
          f'{status.checkpoints_published} checkpoints, newest {status.checkpoint[:12] or "none"}'
          + (f': {status.reason}' if status.reason else ''))
    if status.phase == FAULT:
        raise typer.Exit(1)


class _Ticker:
    """One line about the learner, rewritten on a terminal, else once in ten seconds."""

    def __init__(self, terminal: bool) -> None:
        self._terminal, self._at = terminal, 0.0

    def __call__(self, status: Any, rejected: int) -> None:
        import sys
        import time

        if time.monotonic() - self._at < (0.5 if self._terminal else 10.0):
            return
        self._at = time.monotonic()
        line = (f'{status.phase} step {status.step}  {status.updates_per_second:.1f} updates/s, '
                f'data wait {status.data_wait_share:.0%}  episodes {status.episodes[0]} + '
                f'{status.episodes[1]}, {rejected} refused  Q success '
                f'{status.metric("q_success"):.2f} failure {status.metric("q_failure"):.2f}  '
                f'{status.reason}')
        print(f'\r\x1b[K{line[:150]}' if self._terminal else line,
              end='' if self._terminal else '\n', file=sys.stderr, flush=True)


def _npz(path: Path, out: Path, options: object, horizon: int, gamma: float,
         returns: tuple[float, float] | None) -> None:
    from lwd_bringup import offline as training

    assert isinstance(options, training.Options)
    trained = training.train_npz(
        path, out, options, horizon=horizon, gamma=gamma, returns=returns)
    policy, metrics = trained.policy, trained.metrics
    print(f'{trained.steps} updates; returns {policy.mapping.low:g} to {policy.mapping.high:g} '
          f'are values 0 to 1; mean Q {metrics.get("q_mean", float("nan")):.3f}')
    print(f'policy [{policy.observation_dim}] -> [{policy.horizon}, {policy.action_dim}] in {out}; '
          f"next: python -c \"from lwd_learner.arrays import load_policy; "
          f"print(load_policy('{out}').act([0.0] * {policy.observation_dim}))\"")
