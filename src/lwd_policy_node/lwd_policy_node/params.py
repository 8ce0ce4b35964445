# SPDX-License-Identifier: Apache-2.0
"""Parameters of the policy node."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_core.chunks.config import BLENDS, Chunking, SCHEDULERS
from lwd_core.params import param, ParamError
from lwd_policy_node.backends import BACKENDS

REMOTE_LOADER = 'lwd_policy_node.remote.policy:load'


@dataclass(frozen=True)
class PolicyParams:
    """What the policy node is told; see each description."""

    robot: str = param('', "robot name; '' takes the one of the robot file")
    robot_file: str = param('', 'robot YAML: joints, limits, cameras, control rate')
    tasks_file: str = param('', 'task YAML; empty: any task is taken')
    store: str = param('', 'folder of the store that checkpoints come from')
    channel: str = param('stable', 'checkpoint channel to follow')
    poll_period: float = param(
        2.0, 'how often the store is asked for the channel, for robots without the learner in '
        'their DDS domain; 0: never', unit='s', lower=0.0, upper=3600.0)
    observation: str = param(
        'any', 'what the policy must observe; a checkpoint that observes otherwise is refused',
        choices=('any', 'state', 'pixels'))
    checkpoint: str = param(
        '', 'digest to act with instead of following the channel; empty: follow it')
    scheduler: str = param(
        'synchronous', "how chunks follow each other: the paper's (execute, then plan again), "
        'overlapped with blending, real-time chunking, or real-time chunking with a checkpoint '
        'trained for it', choices=SCHEDULERS)
    execute_steps: int = param(
        8, 'rows of a chunk to execute before planning again', lower=1, upper=1024)
    lookahead: int = param(
        1, 'ticks before the end of a chunk at which the next one is asked for; covers the '
        'inference delay of a robot that does not wait. Real-time chunking measures its delay and '
        'expects this one before the first measurement', lower=0, upper=1023)
    blend: str = param(
        'linear', 'overlapped: how the old chunk fades', choices=BLENDS)
    blend_steps: int = param(
        4, 'overlapped: ticks over which the old chunk fades', lower=1, upper=1024)
    rtc_max_weight: float = param(
        0.0, 'rtc: bound of the guidance (beta); 0: flow_steps', lower=0.0, upper=1000.0)
    overrun: str = param(
        'auto', 'execute rows beyond execute_steps while the next chunk is late; auto: on wall '
        'time only, since a simulation in lockstep waits', choices=('auto', 'on', 'off'))
    backend: str = param(
        'auto', 'what computes a chunk; auto: eager PyTorch where it is fast enough, else the '
        'fastest that is installed, measured at warm-up. Each is checked against eager at load',
        choices=('auto', *BACKENDS))
    inference_threads: int = param(
        1, 'threads of the worker; the other cores belong to control and cameras', lower=1,
        upper=256)
    swap: str = param(
        'episode', 'when a new checkpoint begins to act: after the episode, or with the next '
        'chunk. A rollback always acts with the next chunk', choices=('episode', 'chunk'))
    remote_file: str = param(
        '', 'YAML that says where a policy server (openpi websocket protocol) is; its policy acts '
        'instead of checkpoints of the store')
    inference: str = param(
        'process', 'where the network runs: its own process, or a thread of this one',
        choices=('process', 'inline'))
    inference_niceness: int = param(
        5, 'how far the worker process steps back for the control tick', lower=0, upper=19)
    priority: str = param(
        'raised', 'on wall time: take SCHED_FIFO for the control tick and a lower niceness for '
        'the node where the kernel permits it, and say what was had', choices=('raised', 'normal'))
    stall_timeout: float = param(
        5.0, 'an inference that takes longer is a stalled worker: it is ended and started again',
        unit='s of wall time', lower=0.05, upper=600.0)
    sync: str = param(
        'asof', 'how samples are joined to a tick: newest not later than the tick, or '
        "message_filters' ApproximateTimeSynchronizer where ROS provides it",
        choices=('asof', 'approximate'))
    sync_slop: float = param(
        0.02, 'largest stamp difference within an approximate set', unit='s', lower=0.0, upper=1.0)
    join_wait: float = param(
        0.02, 'under simulated time: how long a tick waits for the samples stamped with it, which '
        'may arrive after the clock', unit='s of wall time', lower=0.0, upper=1.0)
    shadow: bool = param(False, 'plan and publish chunks also while a person drives')
    flow_steps: int = param(10, 'integration steps of the flow', lower=1, upper=100)
    loader: str = param(
        'lwd_policy_node.loading:load', 'module:function that turns a checkpoint into a policy; '
        'where another model family plugs in')
    autostart: bool = param(True, 'configure and activate at start, without a lifecycle manager')

    def __post_init__(self) -> None:
        """Refuse to start without a robot, and impossible combinations."""
        if not self.robot_file:
            raise ParamError("parameter robot_file: '' refused, name a robot YAML "
                             '(e.g. config/robots/sim.yaml)')
        if self.lookahead >= self.execute_steps:
            raise ParamError(f'parameter lookahead: {self.lookahead} refused, must be below '
                             f'execute_steps, which is {self.execute_steps}')

    @property
    def pinned(self) -> str:
        """Return what acts whatever the channel says: a digest, 'remote', or ''."""
        return 'remote' if self.remote_file else self.checkpoint

    @property
    def policy_loader(self) -> str:
        """Return the function that the worker loads policies with."""
        return REMOTE_LOADER if self.remote_file else self.loader

    def chunking(self, overrun: bool = False) -> Chunking:
        """Return how chunks are played."""
        return Chunking(self.scheduler, self.execute_steps, self.lookahead, overrun, self.blend,
                        self.blend_steps, self.rtc_max_weight)
