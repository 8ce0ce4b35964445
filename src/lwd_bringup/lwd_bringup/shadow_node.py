# SPDX-License-Identifier: Apache-2.0
"""
Show a recorded episode to a policy node over DDS, tick by tick, and compare what it would do.

It plays the robot, the arbiter and the episode machine in a namespace of its own, in lockstep: the
samples of a tick, its clock, then it waits for the command. Run beside a policy node that is
pinned to one checkpoint, on simulated time. Writes shadow.json and shadow.html, then ends.
"""

from dataclasses import dataclass
import json
from pathlib import Path
import sys
import threading
import time
from typing import Any

import numpy as np
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from lwd_bringup.shadow.compare import Chunk, compare, Comparison, to_json
from lwd_bringup.shadow.feed import POLICY, read_recording, Recording, Sent, Step
from lwd_bringup.shadow.page import lines, page
from lwd_bringup.shadow.recompute import recompute
from lwd_core import topics
from lwd_core.episode import EpisodeError
from lwd_core.params import param
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher, subscription
from lwd_core.ros_spin import EXPECTED, run
from lwd_core.ros_tick import to_ns, to_stamp
from lwd_core.store import write_atomic
from lwd_msgs.msg import PolicyStatus

SETTLE_S = 0.01  # wall time between ticks nobody answers: time to plan in shadow


class ShadowError(RuntimeError):
    """The policy cannot be compared; the message says why."""


@dataclass(frozen=True)
class ShadowParams:
    """Parameters of the shadow node."""

    bag: str = param('', 'episode folder')
    checkpoint: str = param('', 'digest of the checkpoint that the policy node is pinned to')
    store: str = param('', 'store that holds it')
    robot_file: str = param('', 'robot YAML; empty: as recorded')
    out: str = param('', 'folder for shadow.json and shadow.html')
    load_timeout: float = param(120.0, 'how long the policy may take to load',
                                unit='s of wall time', lower=1.0, upper=3600.0)
    tick_timeout: float = param(10.0, 'how long a tick may take to be answered',
                                unit='s of wall time', lower=0.1, upper=600.0)


class ShadowNode(Node):
    """A thread shows the recording; the executor takes the policy's answers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('shadow', **kwargs)
        self.params = declare(self, ShadowParams)
        robot = RobotSpec.from_yaml(self.params.robot_file) if self.params.robot_file else None
        self.recording = read_recording(Path(self.params.bag), robot)
        self.failed = ''
        self.done = threading.Event()
        self._answered = threading.Condition()
        self._commands: dict[int, np.ndarray] = {}
        self._chunks: dict[int, Chunk] = {}
        self._status: PolicyStatus | None = None
        self._stopping = False
        self._outlets = {name: publisher(self, spec)
                            for name, spec in self.recording.topics.items()}
        self._time = self.create_publisher(Clock, 'clock', 10)
        subscription(self, topics.POLICY_COMMAND, self._on_command)
        subscription(self, topics.POLICY_CHUNK, self._on_chunk)
        subscription(self, topics.POLICY_STATUS, self._on_status)
        self._thread = threading.Thread(target=self._run, name='shadow', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop showing, then go."""
        self._stopping = True
        self._thread.join()
        super().destroy_node()

    # -- what the policy says

    def _on_command(self, message: Any) -> None:
        with self._answered:
            self._commands[to_ns(message.header.stamp)] = np.array(message.points[0].positions)
            self._answered.notify_all()

    def _on_chunk(self, message: Any) -> None:
        chunk = Chunk.of(message)
        with self._answered:
            self._chunks[chunk.tick_ns] = chunk

    def _on_status(self, message: PolicyStatus) -> None:
        with self._answered:
            self._status = message
            self._answered.notify_all()

    # -- what it is shown

    def _run(self) -> None:
        try:
            self._await_policy()
            self._show()
            if not self._stopping:
                self._report()
        except Exception as error:  # said here; a thread's traceback is nobody's error message
            known = isinstance(error, (ShadowError, EpisodeError, OSError, ValueError))
            self.failed = str(error) if known else f'{type(error).__name__}: {error}'
        self.done.set()

    def _await_policy(self) -> None:
        wanted = self.params.checkpoint

        def loaded() -> bool:
            status = self._status
            if status is None:
                return False
            if status.rejected_checkpoint and wanted.startswith(status.rejected_checkpoint[:12]):
                raise ShadowError(f'checkpoint {wanted[:12]} was refused: '
                                  f'{status.rejected_reason}')
            return status.state in (PolicyStatus.READY, PolicyStatus.ACTING) and bool(
                status.checkpoint.startswith(wanted[:12]))

        self._wait(loaded, self.params.load_timeout,
                   f'the policy did not load checkpoint {wanted[:12]}')
        needed = [self._time, self._outlets[topics.CONTROL_MODE.name],
                  self._outlets[topics.EPISODE.name], self._outlets[topics.JOINT_STATES.name]]
        self._wait(lambda: all(one.get_subscription_count() for one in needed),
                   self.params.load_timeout, 'the policy does not listen')

    def _wait(self, condition: Any, timeout: float, what: str) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if self._stopping or time.monotonic() > end:
                raise ShadowError(f'{what} within {timeout:g} s')
            time.sleep(0.02)

    def _show(self) -> None:
        recording, told = self.recording, time.monotonic()
        for sent in recording.opening:
            self._send(sent)
        time.sleep(0.2)  # the episode before its first tick, on another topic
        for number, step in enumerate(recording.steps):
            if self._stopping:
                return
            self._tick(step)
            if time.monotonic() - told > 2.0:
                told = time.monotonic()
                self.get_logger().info(f'tick {number} of {len(recording.steps)}')
        for sent in recording.closing:
            self._send(sent)

    def _send(self, sent: Sent) -> None:
        self._outlets[sent.topic].publish(sent.data)

    def _tick(self, step: Step) -> None:
        for sent in step.before:
            self._send(sent)
        if any(sent.topic == topics.CONTROL_MODE.name for sent in step.before):
            time.sleep(SETTLE_S)  # the mode before the clock of its first tick
        self._time.publish(Clock(clock=to_stamp(step.tick_ns)))
        if step.mode != POLICY:
            time.sleep(SETTLE_S)
            return
        with self._answered:
            self._answered.wait_for(lambda: step.tick_ns in self._commands or self._stopping,
                                    self.params.tick_timeout)

    # -- what came of it

    def _report(self) -> None:
        time.sleep(0.2)  # the last chunk is published after its command
        recording, params = self.recording, self.params
        with self._answered:
            commands, chunks = dict(self._commands), dict(self._chunks)
        comparison = compare(recording.executed, recording.chunks, commands, chunks)
        comparison.recomputed = recompute(
            Path(params.bag), recording.robot, recording.chunks, params.store, params.checkpoint,
            recording.backend)
        write_report(Path(params.out), comparison, recording, params.checkpoint)
        for line in lines(comparison, recording.meta, params.checkpoint):
            print(line, flush=True)
        print(f'report in {Path(params.out) / "shadow.html"}', flush=True)


def write_report(folder: Path, comparison: Comparison, recording: Recording, digest: str) -> None:
    """Write shadow.json and shadow.html."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {'episode': recording.meta.id, 'checkpoint': digest, **to_json(comparison)}
    write_atomic(folder / 'shadow.json', json.dumps(content, allow_nan=False).encode())
    write_atomic(folder / 'shadow.html', page(comparison, recording.meta, digest).encode())


def build_node(**kwargs: Any) -> ShadowNode:
    """Return the node."""
    return ShadowNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Compare one episode; exit 2 with one line where it cannot be."""
    node = run(build_node, args, expected=(*EXPECTED, EpisodeError),
               done=lambda node: node.done.is_set())
    if node.failed:
        print(node.failed, file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
