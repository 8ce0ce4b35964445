# SPDX-License-Identifier: Apache-2.0
"""
Watch a fleet and say what changed, one JSON object a line on standard output.

The demonstration reads these lines from the runner's log stream, so that it needs neither rclpy nor
a thread of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
import json
import math
import sys
import time
from typing import Any

from rclpy.node import Node

from lwd_core import topics
from lwd_core.params import param
from lwd_core.ros_params import declare
from lwd_core.ros_qos import subscription
from lwd_core.ros_spin import run
from lwd_msgs.msg import (
    ControlMode,
    EpisodeState,
    Intervention,
    LearnerStatus,
    Outcome,
    PolicyStatus,
    RecorderStatus,
)

STARTED = time.monotonic()
MARK = '@lwd '  # begins every line that is meant for the reader


def names(message: type, constants: str) -> dict[int, str]:
    """Return {value: lower-case name} of a message's constants."""
    return {getattr(message, name): name.lower() for name in constants.split()}


PHASES = names(EpisodeState, 'IDLE RESETTING READY RUNNING LABELLING')
MODES = names(ControlMode, 'HOLD POLICY HUMAN ESTOP')
OUTCOMES = names(Outcome, 'UNLABELLED SUCCESS FAILURE DISCARDED')
POLICY = names(PolicyStatus, 'NO_POLICY LOADING READY ACTING FAULT')
RECORDER = names(RecorderStatus, 'IDLE RECORDING CLOSING FAULT')
LEARNER = names(LearnerStatus, 'IDLE OFFLINE ONLINE FAULT')
_LEARNER_FIELDS = (
    'step', 'updates_per_second', 'data_wait_share', 'episodes_offline', 'episodes_online',
    'episodes_rejected', 'transitions_offline', 'transitions_online', 'checkpoint',
    'checkpoints_published', 'loss_value', 'loss_critic', 'loss_policy', 'tau', 'entropy',
    'q_success', 'q_failure', 'q_human', 'q_policy', 'replay_age', 'reason')


@dataclass(frozen=True)
class MonitorParams:
    """Parameters of the monitor."""

    robots: tuple[str, ...] = param((), 'names of the robots to watch')


class MonitorNode(Node):
    """Subscribe to the latched state of every robot and of the learner."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('monitor', **kwargs)
        for robot in declare(self, MonitorParams).robots:
            self._watch(robot)
        subscription(self, topics.LEARNER_STATUS, self._on_learner)

    def _watch(self, robot: str) -> None:
        for spec, make in ((topics.EPISODE, episode_event), (topics.CONTROL_MODE, mode_event),
                           (topics.POLICY_STATUS, policy_event),
                           (topics.RECORDER_STATUS, recorder_event),
                           (topics.INTERVENTION, intervention_event)):
            subscription(self, in_namespace(spec, robot), partial(_forward, make, robot))

    def _on_learner(self, message: Any) -> None:
        values = {name: getattr(message, name) for name in _LEARNER_FIELDS}
        emit({'event': 'learner', 'phase': LEARNER.get(message.phase, '?'), **values})


def _forward(make: Callable[[Any], dict[str, Any]], robot: str, message: Any) -> None:
    emit({**make(message), 'robot': robot})


def in_namespace(spec: topics.TopicSpec, robot: str) -> topics.TopicSpec:
    """Return a robot's topic by its absolute name."""
    return replace(spec, name=f'/{robot}/{spec.name}')


def episode_event(message: Any) -> dict[str, Any]:
    """Describe a change of the episode state machine."""
    return {'event': 'episode', 'id': message.episode_id, 'task': message.task,
            'phase': PHASES.get(message.phase, '?'),
            'outcome': OUTCOMES.get(message.outcome.value, '?'), 'detail': message.detail}


def mode_event(message: Any) -> dict[str, Any]:
    """Describe a transition of the arbiter."""
    return {'event': 'mode', 'mode': MODES.get(message.mode, '?'), 'reason': message.reason}


def intervention_event(message: Any) -> dict[str, Any]:
    """Describe the start or the end of a takeover."""
    return {'event': 'intervention', 'id': message.episode_id, 'reason': message.reason,
            'started': message.event == Intervention.STARTED}


def policy_event(message: Any) -> dict[str, Any]:
    """Describe the policy node."""
    return {'event': 'policy', 'state': POLICY.get(message.state, '?'), 'reason': message.reason,
            'checkpoint': message.checkpoint, 'step': message.checkpoint_step,
            'loads': message.loads, 'ticks': message.ticks, 'late_ticks': message.late_ticks,
            'starved_ticks': message.starved_ticks, 'rejected': message.rejected_reason,
            'latency_p50': message.latency_p50, 'latency_p99': message.latency_p99}


def recorder_event(message: Any) -> dict[str, Any]:
    """Describe the recorder."""
    return {'event': 'recorder', 'state': RECORDER.get(message.state, '?'),
            'reason': message.reason, 'lost': message.lost_total,
            'episodes': message.episodes_written, 'disk_free': message.disk_free}


def emit(event: dict[str, Any]) -> None:
    """Print one event with its time [s]; 'no data' (NaN) becomes null, which JSON knows."""
    event = {**event, 't': round(time.monotonic() - STARTED, 3)}
    clean = {key: None if isinstance(value, float) and not math.isfinite(value) else value
             for key, value in event.items()}
    sys.stdout.write(f'{MARK}{json.dumps(clean)}\n')
    sys.stdout.flush()


def build_node(**kwargs: Any) -> MonitorNode:
    """Return the node."""
    return MonitorNode(**kwargs)


def main(args: list[str] | None = None) -> None:
    """Watch until Ctrl-C."""
    run(build_node, args)


if __name__ == '__main__':
    main()
