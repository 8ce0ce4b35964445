# SPDX-License-Identifier: Apache-2.0
"""rclpy adapter of `topics.py`: QoS profiles, message classes, publishers, subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from lwd_core.topics import TopicSpec


def qos_profile(spec: TopicSpec) -> QoSProfile:
    """Return rclpy's profile for a topic."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=spec.depth,
        reliability=(
            ReliabilityPolicy.RELIABLE if spec.reliable else ReliabilityPolicy.BEST_EFFORT),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if spec.latched else DurabilityPolicy.VOLATILE),
    )


def interface_class(type_name: str) -> Any:
    """Return the Python class of 'package/msg/Name' (or srv, action)."""
    package, kind, name = type_name.split('/')
    return getattr(import_module(f'{package}.{kind}'), name)


def _report(node: Node, spec: TopicSpec, other: str) -> Callable[[Any], None]:
    def incompatible(event: Any) -> None:
        node.get_logger().error(
            f'{spec.name}: a {other} asks for an incompatible QoS '
            f'({str(event.last_policy_kind)}); LWD uses {spec.reliability}, {spec.durability}, '
            f'depth {spec.depth}, and nothing flows between the two')
    return incompatible


def publisher(node: Node, spec: TopicSpec, **kwargs: Any) -> Publisher:
    """Create a publisher that reports incompatible QoS in the node's log."""
    kwargs.setdefault('event_callbacks', PublisherEventCallbacks(
        incompatible_qos=_report(node, spec, 'subscription')))
    return node.create_publisher(
        interface_class(spec.type), spec.name, qos_profile(spec), **kwargs)


def subscription(
    node: Node, spec: TopicSpec, callback: Callable[[Any], None], **kwargs: Any,
) -> Subscription:
    """Create a subscription that reports incompatible QoS in the node's log."""
    kwargs.setdefault('event_callbacks', SubscriptionEventCallbacks(
        incompatible_qos=_report(node, spec, 'publisher')))
    return node.create_subscription(
        interface_class(spec.type), spec.name, callback, qos_profile(spec), **kwargs)
