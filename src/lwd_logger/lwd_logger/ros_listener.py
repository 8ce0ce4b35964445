# SPDX-License-Identifier: Apache-2.0
"""A raw subscription that the intake takes from, with the QoS that its publishers offer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.subscription import Subscription

from lwd_core.episode.writer import qos_record
from lwd_core.ros_qos import subscription
from lwd_core.topics import TopicSpec

# Deeper than the publishers' queues: the recorder may come late, it must not lose.
_MIN_DEPTH = 200
# Raw images of two seconds: deeper would be gigabytes.
_IMAGE_DEPTH = 60


class Polled(CallbackGroup):
    """Keeps its subscriptions out of every executor.

    Their events too: an executor that waits for those wakes up for every message (Fast DDS).
    """

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class Listener:
    """One topic. `take` belongs to the intake's thread, `adapt` to the executor's."""

    def __init__(self, node: Node, spec: TopicSpec, group: CallbackGroup) -> None:
        self.spec = spec
        self._node = node
        self._group = group
        self._publishers = 0
        self._wanted = (spec.reliable, spec.latched)
        self._subscription = self._subscribe()

    def take(self) -> Any:
        """Return one message as (CDR bytes, middleware's info), None if there is none."""
        listener = self._subscription
        try:
            with listener.handle:
                return listener.handle.take_message(listener.msg_type, True)
        except InvalidHandle:
            return None  # `adapt` has just put another one in its place

    def adapt(self) -> str:
        """Ask for no more than every publisher offers, as rosbag2 does; return what changed.

        A best-effort publisher would send a reliable subscription nothing at all.
        """
        count = self._node.count_publishers(self.spec.name)
        if count == self._publishers:
            return ''
        self._publishers = count
        offers = [(qos['reliability'] == 'reliable', qos['durability'] == 'transient_local')
                  for qos in self.offered()]
        wanted = (self.spec.reliable and all(reliable for reliable, _ in offers),
                  self.spec.latched and all(latched for _, latched in offers))
        if wanted == self._wanted:
            return ''
        self._wanted, old = wanted, self._subscription
        self._subscription = self._subscribe()
        self._node.destroy_subscription(old)
        return (f'{self.spec.name}: a publisher offers less than {self.spec.reliability}, '
                f'{self.spec.durability}; recorded as it is offered')

    def offered(self) -> list[dict[str, Any]]:
        """Return the publishers' QoS as rosbag2 writes it; discovery tells no depth."""
        return [qos_record(replace(
            self.spec, reliable=info.qos_profile.reliability is ReliabilityPolicy.RELIABLE,
            latched=info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL))
            for info in self._node.get_publishers_info_by_topic(self.spec.name)]

    def _subscribe(self) -> Subscription:
        reliable, latched = self._wanted
        least = _IMAGE_DEPTH if self.spec.type == 'sensor_msgs/msg/Image' else _MIN_DEPTH
        spec = replace(self.spec, depth=max(self.spec.depth, least), reliable=reliable,
                       latched=latched)
        return subscription(self._node, spec, _unused, raw=True, callback_group=self._group)


def _unused(data: bytes) -> None:
    raise AssertionError('messages are taken by the intake, never by an executor')
