# SPDX-License-Identifier: Apache-2.0
"""Ask a running policy node: its status, a rollback, another checkpoint."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

import rclpy
from rclpy.context import Context
from std_srvs.srv import Trigger

from lwd_core import topics
from lwd_core.ros_qos import subscription
from lwd_msgs.msg import PolicyStatus
from lwd_msgs.srv import LoadCheckpoint

STATES = {getattr(PolicyStatus, name): name.lower().replace('_', ' ')
          for name in ('NO_POLICY', 'LOADING', 'READY', 'ACTING', 'FAULT')}


class PolicyClient:
    """A short-lived node beside one robot's policy node; use it in a `with` statement."""

    def __init__(self, robot: str, timeout: float = 5.0, **options: Any) -> None:
        """`timeout` [s] bounds every wait; raises RuntimeError naming what did not answer."""
        self._robot, self._timeout = robot, timeout
        self._context = Context()
        rclpy.init(context=self._context, **options)
        self._node = rclpy.create_node('policy_client', namespace=robot, context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def status(self) -> PolicyStatus:
        """Return the node's status."""
        heard: list[PolicyStatus] = []
        subscription(self._node, topics.POLICY_STATUS, heard.append)
        self._wait(lambda: bool(heard), 'policy/status')
        return heard[-1]

    def rollback(self) -> str:
        """Let the previous checkpoint act; return what happens, RuntimeError if it is refused."""
        answer = self._call(Trigger, 'policy/rollback', Trigger.Request())
        return self._said(answer.success, answer.message)

    def load(self, digest: str) -> str:
        """Load a checkpoint of the store; return what happens, RuntimeError if it is refused."""
        answer = self._call(LoadCheckpoint, 'policy/load_checkpoint',
                            LoadCheckpoint.Request(digest=digest))
        return self._said(answer.accepted, answer.message)

    def _said(self, accepted: bool, message: str) -> str:
        if not accepted:
            raise RuntimeError(f'{self._robot}: refused: {message}')
        return str(message)

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        client = self._node.create_client(kind, name)
        self._wait(client.service_is_ready, name)
        future = client.call_async(request)
        self._wait(future.done, name)
        return future.result()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self._timeout
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(
                    f'/{self._robot}/{what} does not answer within {self._timeout:g} s: does the '
                    'robot run under this name, in this ROS_DOMAIN_ID?')
            self._executor.spin_once(timeout_sec=0.05)
