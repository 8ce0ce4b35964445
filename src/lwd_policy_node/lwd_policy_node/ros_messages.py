# SPDX-License-Identifier: Apache-2.0
"""The policy node's messages, built from plain values; the only module that fills them in."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from lwd_core.chunking import Decision
from lwd_core.clock import NS_PER_S
from lwd_core.ros_tick import to_stamp
from lwd_core.topics import CommandTag
from lwd_msgs.msg import ActionChunk, CadenceReport, PolicyStatus
from lwd_policy_node.cadence import Cadence, percentile
from lwd_policy_node.loop import ControlLoop
from lwd_policy_node.planning import ChunkReport
from lwd_policy_node.supervisor import Supervisor


class CommandMessages:
    """Commands of one robot; the message is filled anew every tick, not built."""

    def __init__(self, names: list[str], period_ns: int) -> None:
        point = JointTrajectoryPoint(time_from_start=Duration(
            sec=period_ns // NS_PER_S, nanosec=period_ns % NS_PER_S))
        self._message = JointTrajectory(joint_names=names, points=[point])

    def of(self, stamp_ns: int, epoch: int, decision: Decision) -> JointTrajectory:
        """Return the command of one tick: a trajectory of one point, tagged with its chunk."""
        assert decision.action is not None
        header, point = self._message.header, self._message.points[0]
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
        header.frame_id = CommandTag(epoch, decision.chunk_id, decision.index).encode()
        point.positions = array.array('d', decision.action.astype(np.float64).tobytes())
        return self._message


def chunk_message(report: ChunkReport, names: list[str]) -> ActionChunk:
    """Return the record of a chunk: enough to compute it again bit for bit."""
    planned = report.planned
    message = ActionChunk(
        chunk_id=planned.chunk_id, epoch=planned.epoch, checkpoint=planned.digest,
        seed=planned.seed, observation_sources=list(planned.sources),
        observation_stamps=[to_stamp(stamp) for stamp in planned.sources.values()],
        horizon=report.actions.shape[0], action_dim=report.actions.shape[1], joint_names=names,
        latency=report.latency, inference_time=report.inference, delay_steps=report.delay,
        shadow=planned.shadow)
    message.header.stamp = to_stamp(planned.stamp_ns)
    message.header.frame_id = planned.note
    message.actions = array.array('f', np.ascontiguousarray(report.actions, '<f4').tobytes())
    return message


def status_message(stamp: Any, loop: ControlLoop, supervisor: Supervisor) -> PolicyStatus:
    """Return the state of the node."""
    recent = loop.cadence.recent
    table = supervisor.checkpoints
    state, reason = _state(loop, supervisor)
    active = table.active
    message = PolicyStatus(
        state=state, reason=reason,
        pending_checkpoint=table.pending.digest if table.pending else '',
        rejected_checkpoint=table.newest_refused,
        rejected_reason=table.newest_reason,
        loads=table.loads, ticks=loop.ticks, late_ticks=loop.late_ticks,
        starved_ticks=loop.starved_ticks, latency_p50=percentile(recent, 50),
        latency_p99=percentile(recent, 99))
    message.header.stamp = stamp
    if active is not None:
        message.checkpoint, message.checkpoint_step = active.digest, max(0, active.step)
        message.backend = active.backend
    return message


def _state(loop: ControlLoop, supervisor: Supervisor) -> tuple[int, str]:
    table = supervisor.checkpoints
    if not supervisor.up and (supervisor.restarts or table.active):
        return PolicyStatus.FAULT, supervisor.reason
    if supervisor.usable:
        acting = loop.active
        return PolicyStatus.ACTING if acting else PolicyStatus.READY, (
            starved(loop) if loop.situation.gate_open else 'node is not active: activate it')
    if table.active is not None:
        return PolicyStatus.FAULT, 'worker was restarted, the checkpoint is being loaded again'
    if table.loading is not None or not supervisor.up:
        return PolicyStatus.LOADING, supervisor.reason
    refused = table.newest_reason
    return PolicyStatus.NO_POLICY, (
        f'checkpoint {table.newest_refused[:12]} was refused: {refused}' if refused
        else 'no checkpoint was published yet')


def cadence_message(stamp: Any, episode_id: str, cadence: Cadence) -> CadenceReport:
    """Return the report of one episode; times of the sections in seconds."""
    quantiles = {name: [cadence.quantile(section, q) for section in cadence.sections]
                 for name, q in (('p50', 50), ('p99', 99), ('max', 100))}
    message = CadenceReport(
        episode_id=episode_id, ticks=cadence.ticks, seconds=cadence.seconds, rate=cadence.rate,
        late_ticks=cadence.late, starved_ticks=cadence.starved, chunks=cadence.chunks,
        delay_steps=cadence.mean_delay, clamped_ticks=cadence.clamped,
        sections=list(cadence.sections), **quantiles)
    message.header.stamp = stamp
    return message


def starved(loop: ControlLoop) -> str:
    """Return why the newest tick of an acting policy had no action, '' if it had one."""
    return f'starved: {loop.starving}' if loop.starving else ''


_LEVELS = {
    PolicyStatus.NO_POLICY: DiagnosticStatus.WARN, PolicyStatus.LOADING: DiagnosticStatus.WARN,
    PolicyStatus.READY: DiagnosticStatus.OK, PolicyStatus.ACTING: DiagnosticStatus.OK,
    PolicyStatus.FAULT: DiagnosticStatus.ERROR,
}
_NAMES = {PolicyStatus.NO_POLICY: 'no policy', PolicyStatus.LOADING: 'loading',
          PolicyStatus.READY: 'ready', PolicyStatus.ACTING: 'acting',
          PolicyStatus.FAULT: 'fault'}


def diagnostics_message(node_name: str, status: PolicyStatus,
                        extra: Sequence[tuple[str, object]]) -> DiagnosticArray:
    """Return /diagnostics for a status, by REP-107."""
    level = _LEVELS[status.state]
    text = _NAMES[status.state] + (f': {status.reason}' if status.reason else '')
    if status.rejected_reason and level == DiagnosticStatus.OK:
        level = DiagnosticStatus.WARN
        text += f'; refused {status.rejected_checkpoint[:12]}: {status.rejected_reason}'
    values = [('checkpoint', status.checkpoint), ('step', status.checkpoint_step),
              ('loads', status.loads), ('ticks', status.ticks), ('late_ticks', status.late_ticks),
              ('starved_ticks', status.starved_ticks),
              ('latency_p50_ms', f'{1e3 * status.latency_p50:.2f}'),
              ('latency_p99_ms', f'{1e3 * status.latency_p99:.2f}'), *extra]
    entry = DiagnosticStatus(
        level=level, name=f'{node_name}: policy', message=text, hardware_id=node_name,
        values=[KeyValue(key=key, value=str(value)) for key, value in values])
    message = DiagnosticArray(status=[entry])
    message.header.stamp = status.header.stamp
    return message
