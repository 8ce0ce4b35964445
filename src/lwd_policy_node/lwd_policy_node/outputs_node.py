# SPDX-License-Identifier: Apache-2.0
"""What the policy node says: commands, chunks, status, diagnostics, cadence reports."""

from __future__ import annotations

from typing import Any

from lwd_core import topics
from lwd_core.chunking import Decision
from lwd_core.observation import Observation
from lwd_core.robot import RobotSpec
from lwd_policy_node.cadence import Cadence
from lwd_policy_node.inference import Inference
from lwd_policy_node.lifecycle_node import ManagedNode
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.planning import ChunkReport, Planned
from lwd_policy_node.ros_messages import (
    cadence_message,
    chunk_message,
    CommandMessages,
    diagnostics_message,
    status_message,
)
from lwd_policy_node.supervisor import Supervisor
from lwd_policy_node.worker import act_frame


class PolicyOutputs:
    """Publishers of the policy node; the loop's `Outputs`."""

    def __init__(self, node: ManagedNode, robot: RobotSpec) -> None:
        self._node = node
        self._names = list(robot.joint_names)
        self._messages = CommandMessages(self._names, robot.period_ns)
        self._command = node.publish_on(topics.POLICY_COMMAND)
        self._chunk = node.publish_on(topics.POLICY_CHUNK)
        self._status = node.publish_on(topics.POLICY_STATUS)
        self._cadence = node.publish_on(topics.POLICY_CADENCE)
        self._diagnostics = node.publish_on(topics.DIAGNOSTICS)
        self.inference: Inference | None = None
        self.image_size: tuple[int, int] | None = None

    def infer(self, planned: Planned, observation: Observation) -> None:
        """Send an observation to the worker, images as they came."""
        assert self.inference is not None
        self.inference.send(act_frame(planned.chunk_id, planned.digest, planned.seed, observation,
                                      planned.continuation, self.image_size))

    def command(self, stamp_ns: int, epoch: int, decision: Decision) -> None:
        """Publish the command of a tick."""
        self._command.publish(self._messages.of(stamp_ns, epoch, decision))

    def chunk(self, report: ChunkReport) -> None:
        """Publish a chunk."""
        self._chunk.publish(chunk_message(report, self._names))

    def status(self, loop: ControlLoop, supervisor: Supervisor) -> Any:
        """Publish and return the node's state."""
        message = status_message(self._node.get_clock().now().to_msg(), loop, supervisor)
        self._status.publish(message)
        return message

    def diagnostics(self, status: Any, loop: ControlLoop, supervisor: Supervisor) -> None:
        """Publish /diagnostics for a status."""
        late = loop.assembler.late if loop.assembler else 0
        extra = [('worker_restarts', supervisor.restarts), ('late_samples', late),
                 ('late_waiting_for_a_chunk', loop.cadence.waited),
                 ('rate_hz', f'{loop.cadence.rate:.2f}'), ('clamped', loop.cadence.clamped),
                 ('delay_steps', f'{loop.cadence.mean_delay:.2f}'),
                 ('backend', _computed_by(supervisor))]
        self._diagnostics.publish(
            diagnostics_message(self._node.get_fully_qualified_name(), status, extra))

    def cadence(self, episode_id: str, cadence: Cadence) -> None:
        """Report how the rate was kept, to the terminal and on policy/cadence."""
        self._node.get_logger().info(cadence.report(episode_id or 'the whole run'))
        self._cadence.publish(cadence_message(
            self._node.get_clock().now().to_msg(), episode_id, cadence))


def _computed_by(supervisor: Supervisor) -> str:
    """Return what computes the active checkpoint, and why that; '' without one."""
    active = supervisor.checkpoints.active
    return '' if active is None else f'{active.backend}: {active.note}'.removesuffix(': ')
