# SPDX-License-Identifier: Apache-2.0
"""ROS adapter of the uploader: a process of its own, `upload/status` out."""

from __future__ import annotations

from dataclasses import replace
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from lwd_core import topics
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher
from lwd_core.ros_spin import EXPECTED, run
from lwd_core.store import FolderStore, open_store, StoreError
from lwd_logger.config import check_robot_name, UploaderParams
from lwd_logger.diagnostics import upload_status
from lwd_logger.lock import SpoolError
from lwd_logger.upload import Progress, Uploader
from lwd_msgs.msg import UploadStatus

_REPORT_PERIOD = 1.0  # s


class UploaderNode(Node):
    """Uploads one robot's episodes in a thread; the executor reports once a second."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('uploader', **kwargs)
        self.params = declare(self, UploaderParams)
        name = check_robot_name(self.params.robot or self.get_namespace().strip('/'))
        self._status = publisher(self, topics.UPLOAD_STATUS)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        self.uploader = Uploader(
            name, FolderStore(self.params.local_store), open_store(self.params.store),
            self.params, self._say, report=self._report)
        self._stopping = threading.Event()
        self._publishing = threading.Lock()
        self._report(self.uploader.progress)
        self.create_timer(_REPORT_PERIOD, lambda: self._publish(self._reported),
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._thread = threading.Thread(target=self._run, name='upload', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop after what is being sent now, at most a few seconds; the rest goes on next time."""
        self._stopping.set()
        self._thread.join(timeout=5.0)
        self.uploader.close()
        super().destroy_node()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self.uploader.step()
            except Exception as error:  # the thread must outlive whatever one step met
                self.uploader.fault(f'{type(error).__name__}: {error}')
                wait = self.params.retry_max
            self._stopping.wait(wait)

    def _report(self, progress: Progress) -> None:
        """Publish what the uploader says; the timer repeats that, and nothing half changed."""
        self._reported = replace(progress)
        self._publish(self._reported)

    def _publish(self, progress: Progress) -> None:
        if not self.context.ok():
            return
        with self._publishing:
            message = UploadStatus(
                state=int(progress.state), reason=progress.reason, episode_id=progress.episode_id,
                pending_episodes=progress.pending_episodes, pending_bytes=progress.pending_bytes,
                uploaded_episodes=progress.uploaded_episodes,
                uploaded_bytes=progress.uploaded_bytes, failures=progress.failures,
                retry_in=progress.retry_in, bytes_per_second=self.uploader.bytes_per_second)
            message.header.stamp = self.get_clock().now().to_msg()
            self._status.publish(message)
            diagnostics = DiagnosticArray(
                status=[upload_status(self.get_fully_qualified_name(), progress)])
            diagnostics.header.stamp = message.header.stamp
            self._diagnostics.publish(diagnostics)

    def _say(self, level: str, text: str) -> None:
        logger = self.get_logger()
        # One call site each: rclpy refuses another severity from the same line.
        if level == 'error':
            logger.error(text)
        elif level == 'warning':
            logger.warning(text)
        else:
            logger.info(text)


def main(args: list[str] | None = None) -> None:
    """Run the uploader until SIGINT or SIGTERM; exit 2 with one line on a bad parameter."""
    run(UploaderNode, args, expected=(*EXPECTED, SpoolError, StoreError))


if __name__ == '__main__':
    main()
