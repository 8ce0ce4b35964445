# SPDX-License-Identifier: Apache-2.0
"""What is known of a running demonstration; the monitor's events are folded into it. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from lwd_bringup.runner import Health


@dataclass
class RobotView:
    """One robot as the live view shows it."""

    phase: str = 'starting'
    mode: str = ''
    task: str = ''
    checkpoint: str = ''
    checkpoint_step: int = 0
    policy: str = ''
    reason: str = ''
    recorder: str = ''


@dataclass
class Episode:
    """One finished episode."""

    robot: str
    id: str
    task: str
    outcome: str
    takeovers: int = 0
    checkpoint: str = ''
    phase: str = ''  # of the demonstration


@dataclass
class DemoState:
    """Everything that the live view and the summary need of the running graph."""

    phase: str = 'starting'
    robots: dict[str, RobotView] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    learner: dict[str, Any] = field(default_factory=dict)
    learner_curve: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)  # one row a second and robot
    health: tuple[Health, ...] = ()
    progress: dict[str, str] = field(default_factory=dict)  # of the phase's workers, in words
    # Counters that start at 0 with each process: {(robot, counter): sum of finished lives}.
    _lives: dict[tuple[str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0]))
    _takeovers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _open: dict[str, str] = field(default_factory=dict)  # robot -> id of the episode in progress

    def apply(self, event: dict[str, Any]) -> None:
        """Fold in one event of the monitor node."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def robot(self, name: str) -> RobotView:
        """Return a robot's view, made on first use."""
        return self.robots.setdefault(name, RobotView())

    def total(self, counter: str) -> int:
        """Return a counter summed over robots and over the lives of their processes."""
        return sum(sum(pair) for (_, name), pair in self._lives.items() if name == counter)

    def of_phase(self, phase: str) -> list[Episode]:
        """Return the finished episodes of a phase of the demonstration."""
        return [episode for episode in self.episodes if episode.phase == phase]

    def count(self, robot: str, counter: str, value: int) -> None:
        """Take a reading of a counter that falls back to 0 when its process is restarted."""
        pair = self._lives[robot, counter]
        if value < pair[1]:
            pair[0] += pair[1]
        pair[1] = value

    def _on_episode(self, event: dict[str, Any]) -> None:
        robot = self.robot(event['robot'])
        robot.phase, robot.task = event['phase'], event['task']
        name, episode = event['robot'], event['id']
        if event['phase'] != 'idle':
            self._open[name] = episode
        elif self._open.pop(name, None) == episode and episode:
            self.episodes.append(Episode(
                name, episode, event['task'], event['outcome'], self._takeovers.pop(episode, 0),
                robot.checkpoint, self.phase))

    def _on_mode(self, event: dict[str, Any]) -> None:
        self.robot(event['robot']).mode = event['mode']
        self.robot(event['robot']).reason = event['reason']

    def _on_intervention(self, event: dict[str, Any]) -> None:
        if event['started']:
            self._takeovers[event['id']] += 1

    def _on_policy(self, event: dict[str, Any]) -> None:
        robot = self.robot(event['robot'])
        robot.checkpoint, robot.checkpoint_step = event['checkpoint'], event['step']
        robot.policy = event['state']
        self.timing.append({key: event[key] for key in
                            ('t', 'robot', 'ticks', 'latency_p50', 'latency_p99')})
        for counter in ('loads', 'late_ticks', 'starved_ticks', 'ticks'):
            self.count(event['robot'], counter, event[counter])

    def _on_recorder(self, event: dict[str, Any]) -> None:
        self.robot(event['robot']).recorder = event['state']
        self.count(event['robot'], 'lost_messages', event['lost'])

    def _on_learner(self, event: dict[str, Any]) -> None:
        self.learner = event
        if not self.learner_curve or self.learner_curve[-1]['step'] != event['step']:
            self.learner_curve.append(event)

    def _on_progress(self, event: dict[str, Any]) -> None:
        self.progress[event['name']] = event['text']
