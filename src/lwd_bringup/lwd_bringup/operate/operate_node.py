# SPDX-License-Identifier: Apache-2.0
"""The view's ear and voice: subscriptions of one robot, and the services that its keys ask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import getpass
import time
from typing import Any

import rclpy
from rclpy.node import Node

from lwd_bringup.operate.shadow import Shadow
from lwd_bringup.operate.view import OperatorView
from lwd_core import topics
from lwd_core.ros_qos import subscription
from lwd_core.ros_spin import SpinThread
from lwd_msgs.msg import ControlMode, Outcome
from lwd_msgs.srv import LabelEpisode, RequestMode

TOPICS = (topics.CONTROL_MODE, topics.EPISODE, topics.EXECUTED_ACTION, topics.POLICY_STATUS,
          topics.TELEOP_STATUS, topics.RECORDER_STATUS, topics.INTERVENTION)
OUTCOMES = {'success': Outcome.SUCCESS, 'failure': Outcome.FAILURE,
            'discarded': Outcome.DISCARDED}


class OperateNode(Node):
    """Feed the view in the executor's thread; requests answer in words."""

    def __init__(self, view: OperatorView, **kwargs: Any) -> None:
        """Connect to the robot that the view is of."""
        super().__init__('operate', namespace=view.robot, **kwargs)
        self.view = view
        self._shadow: Shadow | None = None
        for spec in TOPICS:
            subscription(self, spec, partial(self._take, spec.name))
        subscription(self, topics.POLICY_CHUNK, self._on_chunk)
        self._mode = self.create_client(RequestMode, 'arbiter/request_mode')
        self._label = self.create_client(LabelEpisode, 'episode/label')

    def _take(self, topic: str, message: Any) -> None:
        self.view.take(topic, message, time.monotonic())
        if topic == topics.EXECUTED_ACTION.name and self._shadow is not None:
            difference = self._shadow.on_executed(message)
            if difference is not None:
                self.view.difference = abs(difference.worst[1])

    def _on_chunk(self, message: Any) -> None:
        if self._shadow is None and message.shadow:
            self._shadow = Shadow(self._period())
        if self._shadow is not None:
            self._shadow.on_chunk(message)
            self.view.difference = self.view.difference if message.shadow else None

    def _period(self) -> int:
        """Return the control period [ns] as the ticks seen so far tell it."""
        return self.view.period_ns or 40_000_000

    def request(self, mode: str, said: Callable[[str], None]) -> None:
        """Ask the arbiter for a mode."""
        self._call(self._mode, RequestMode.Request(
            mode=getattr(ControlMode, mode), operator_name=getpass.getuser(), source='operate'),
            said)

    def label(self, episode_id: str, outcome: str, said: Callable[[str], None]) -> None:
        """Label an episode."""
        self._call(self._label, LabelEpisode.Request(
            episode_id=episode_id, outcome=Outcome(value=OUTCOMES[outcome]),
            operator_name=getpass.getuser()), said)

    def _call(self, client: Any, request: Any, said: Callable[[str], None]) -> None:
        if not client.service_is_ready():
            said(f'{client.srv_name} does not answer; is the robot running?')
            return
        future = client.call_async(request)
        future.add_done_callback(lambda done: said(
            done.result().message if done.result().accepted
            else f'refused: {done.result().message}'))


def operate(robot: str) -> None:
    """Show a robot until the operator leaves."""
    from lwd_bringup.operate.app import OperateApp

    rclpy.init()
    view = OperatorView(robot)
    node = OperateNode(view)
    thread = SpinThread(node)
    try:
        OperateApp(view, node, alive=lambda: thread.alive).run()
    finally:
        try:
            thread.stop()  # raises what a callback raised
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
