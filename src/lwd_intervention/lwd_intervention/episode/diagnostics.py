# SPDX-License-Identifier: Apache-2.0
"""The episode machine's state as one diagnostic status; no rclpy here."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from lwd_intervention.episode.machine import EpisodeMachine
from lwd_intervention.episode.state import Phase, Stop


def episode_status(name: str, machine: EpisodeMachine, elapsed: float) -> DiagnosticStatus:
    """Return phase, episode and what is waited for; ERROR after a fault.

    elapsed: s of RUNNING.
    """
    state = machine.state
    missing = machine.missing if state.phase is Phase.READY else ''
    level, text = DiagnosticStatus.OK, f'{state.phase.name} {state.detail}'.strip()
    if missing:
        level, text = DiagnosticStatus.WARN, f'READY, waits: {missing}'
    if state.stop is Stop.FAULT:
        level = DiagnosticStatus.ERROR
    values = {
        'phase': state.phase.name, 'episode': state.id, 'task': state.task,
        'outcome': state.outcome.name, 'stop reason': state.stop.name,
        'elapsed [s]': f'{elapsed:.1f}', 'time limit [s]': f'{state.time_limit:.1f}',
        'takeovers': machine.takeovers, 'requests refused': machine.refused,
        'labelled by': state.labelled_by}
    return DiagnosticStatus(level=level, name=f'{name.lstrip("/")}: episode', message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])
