# SPDX-License-Identifier: Apache-2.0
"""The recorder's state as one diagnostic status; no rclpy here."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from lwd_logger.status import State, Status
from lwd_logger.upload import Progress, UploadState


def recorder_status(name: str, status: Status) -> DiagnosticStatus:
    """Return state and counters; ERROR for FAULT, WARN once messages were lost."""
    level, text = DiagnosticStatus.OK, status.state.name
    if status.lost_total:
        level, text = DiagnosticStatus.WARN, f'{text}, {status.lost_total} messages lost'
    if status.state is State.FAULT:
        level, text = DiagnosticStatus.ERROR, status.reason
    values = {
        'episode': status.episode_id or 'none', 'messages': status.messages,
        'MB': f'{status.bytes / 1e6:.1f}', 'episodes written': status.episodes_written,
        'messages lost': status.lost_total, 'disk free [GB]': f'{status.disk_free / 1e9:.1f}',
    }
    values |= {f'lost of {count.topic}': count.lost for count in status.topics if count.lost}
    return DiagnosticStatus(level=level, name=f'{name.lstrip("/")}: bag', message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])


def upload_status(name: str, progress: Progress) -> DiagnosticStatus:
    """Return what waits and what arrived; WARN while it retries, ERROR for what cannot be sent."""
    level = {UploadState.RETRYING: DiagnosticStatus.WARN,
             UploadState.FAULT: DiagnosticStatus.ERROR}.get(progress.state, DiagnosticStatus.OK)
    values = {
        'waiting': progress.pending_episodes, 'waiting [MB]': f'{progress.pending_bytes / 1e6:.1f}',
        'uploaded': progress.uploaded_episodes, 'failures': progress.failures,
    }
    return DiagnosticStatus(level=level, name=f'{name.lstrip("/")}: upload',
                            message=progress.reason or progress.state.name,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])
