# SPDX-License-Identifier: Apache-2.0
"""The arbiter's state as one diagnostic status; no rclpy here."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import numpy as np

from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.modes import Mode


def arbiter_status(
    name: str, core: Arbiter, latency: list[float], missed: int = 0,
) -> DiagnosticStatus:
    """Return mode, counters and command latency; ERROR for ESTOP or a second writer.

    latency: s from a command's arrival to the robot's command, newest ones. missed: ticks that the
    node did not see.
    """
    level = DiagnosticStatus.OK
    text = f'{core.mode.name}: {core.reason}'
    if core.running and core.mode is Mode.HOLD:
        level = DiagnosticStatus.WARN
    if core.mode is Mode.ESTOP:
        level = DiagnosticStatus.ERROR
    if core.other_writers:
        level = DiagnosticStatus.ERROR
        text = f'{1 + len(core.other_writers)} writers of command; {text}'
    values = {
        'mode': core.mode.name, 'epoch': core.epoch, 'ticks executed': core.executed,
        'ticks missed': missed, 'takeovers': core.takeovers.count,
        'takeover open': core.takeovers.open is not None,
        'other writers of command': ', '.join(core.other_writers) or 'none',
        **{f'clamped: {bit}': count for bit, count in sorted(core.clamped.items())},
        **{f'refused: {why}': count for why, count in sorted(core.refused.items())},
    }
    if latency:
        p50, p99 = np.percentile(latency, (50, 99)) * 1e3
        values |= {'latency p50 [ms]': f'{p50:.3f}', 'latency p99 [ms]': f'{p99:.3f}'}
    return DiagnosticStatus(level=level, name=f'{name.lstrip("/")}: command', message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])
