# SPDX-License-Identifier: Apache-2.0
"""ROS adapter between sensor topics and the ObservationAssembler: only what is observed is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from lwd_core import topics
from lwd_core.images import decode_raw, ImageError
from lwd_core.observation import ObservationAssembler, ObservationError
from lwd_core.ros_qos import interface_class, qos_profile, subscription
from lwd_core.ros_tick import to_ns
from lwd_core.topics import TopicSpec

LOG_PERIOD_S = 5.0  # at most one complaint about samples in this time


class Sensors:
    """The subscriptions one observation specification needs."""

    def __init__(self, node: Node, assembler: ObservationAssembler, on_sample: Callable[[], None],
                 lock: Any, sync: str = 'asof', slop: float = 0.02) -> None:
        """Subscribe; samples are added under `lock` and announced by `on_sample`, under it too."""
        self._node = node
        self._assembler = assembler
        self._on_sample = on_sample
        self._lock = lock
        self._inputs = self._wanted()
        self._subscriptions: list[Any] = []
        if sync == 'approximate':
            self._synchronize(slop)
        else:
            self._subscriptions = [
                subscription(node, spec, self._guarded(add)) for spec, add in self._inputs]

    def close(self) -> None:
        """Unsubscribe."""
        for item in self._subscriptions:
            self._node.destroy_subscription(item)
        self._subscriptions.clear()

    def _wanted(self) -> list[tuple[TopicSpec, Callable[[Any], None]]]:
        spec = self._assembler.spec
        inputs: list[tuple[TopicSpec, Callable[[Any], None]]] = [
            (topics.JOINT_STATES, self._add_joints)]
        if spec.mode == 'state':
            inputs.append((topics.STATE_OBSERVATION, self._add_state))
        for camera in spec.cameras:
            inputs.append((topics.camera(camera), self._compressed(camera)))
            inputs.append((topics.camera_raw(camera), self._raw(camera)))
        return inputs

    def _add_joints(self, message: Any) -> None:
        self._assembler.add_joints(to_ns(message.header.stamp), message.name, message.position)

    def _add_state(self, message: Any) -> None:
        self._assembler.add_state(to_ns(message.header.stamp), message.names, message.values)

    def _compressed(self, camera: str) -> Callable[[Any], None]:
        return lambda message: self._assembler.add_image(
            camera, to_ns(message.header.stamp), bytes(message.data))

    def _raw(self, camera: str) -> Callable[[Any], None]:
        return lambda message: self._assembler.add_image(
            camera, to_ns(message.header.stamp), decode_raw(message))

    def _guarded(self, add: Callable[[Any], None]) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            try:
                with self._lock:
                    add(message)
                    self._on_sample()
            except (ObservationError, ImageError) as error:
                self._node.get_logger().error(
                    f'sample refused: {error}', throttle_duration_sec=LOG_PERIOD_S)
        return take

    def _synchronize(self, slop: float) -> None:
        """Add only sets of samples that message_filters finds within `slop` [s] of each other."""
        from message_filters import ApproximateTimeSynchronizer, Subscriber
        inputs = [(spec, add) for spec, add in self._inputs if 'Image' not in spec.type
                  or 'Compressed' in spec.type]
        filters = [Subscriber(self._node, interface_class(spec.type), spec.name,
                              qos_profile=qos_profile(spec)) for spec, _ in inputs]
        self._subscriptions = [item.sub for item in filters]
        adders = [self._guarded(add) for _, add in inputs]
        self._filter = ApproximateTimeSynchronizer(filters, 10, slop)
        self._filter.registerCallback(
            lambda *messages: [add(message) for add, message in zip(adders, messages)])


def require_sync(sync: str) -> None:
    """Raise ImportError with the next step if the sync strategy cannot be had here."""
    if sync == 'approximate':
        try:
            import message_filters  # noqa: F401
        except ImportError:
            raise ImportError('parameter sync: approximate needs message_filters, which comes '
                              'with a ROS 2 installation: source one, or use asof') from None
