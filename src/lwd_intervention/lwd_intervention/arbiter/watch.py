# SPDX-License-Identifier: Apache-2.0
"""What forbids a driver to drive whatever he commands: old joints, other writers, his deadman.

Each check answers with the reason in words, or '' while all is well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lwd_core.clock import NS_PER_S

RELEASED = 'deadman released'


@dataclass(frozen=True)
class Teleop:
    """What a teleoperation source last said of itself."""

    stamp_ns: int
    held: bool   # deadman held: DRIVING or ALIGNING
    reason: str


class Surroundings:
    """Joint states, writers of the command and deadman switches, as last heard."""

    def __init__(self, max_joint_age: float) -> None:
        """Start with nothing heard; `max_joint_age` [s] is the robot file's."""
        self._max_joint_age = round(max_joint_age * NS_PER_S)
        self.joints_ns: int | None = None      # stamp of the newest joint states; None: unstamped
        self.writers: tuple[str, ...] = ()     # others that publish the robot's command
        self._teleop: dict[str, Teleop] = {}   # by source

    def restart(self, now: int) -> None:
        """Take what is known as said now: stamps of before the clock jumped mean nothing."""
        self.joints_ns = None
        self._teleop = {source: replace(status, stamp_ns=now)
                        for source, status in self._teleop.items()}

    def on_teleop(self, source: str, status: Teleop) -> None:
        """Take a source's status; one that arrives out of order is ignored."""
        before = self._teleop.get(source)
        if before is None or status.stamp_ns >= before.stamp_ns:
            self._teleop[source] = status

    def deadman(self, source: str, since_ns: int | None = None) -> str:
        """Return why the person must not move the robot; '' if nobody told of a deadman.

        With `since_ns` only what was said from then on counts: a status may cross the request to
        drive. Where the driving source is not named, any source that is held will do.
        """
        relevant = ([self._teleop[source]] if source in self._teleop
                    else list(self._teleop.values()) if not source else [])
        if since_ns is not None:
            relevant = [status for status in relevant if status.stamp_ns >= since_ns]
        if not relevant or any(status.held for status in relevant):
            return ''
        return next((status.reason for status in relevant if status.reason), RELEASED)

    def old_joints(self, now: int) -> str:
        """Return how old the joint states are if that is too old to drive by."""
        age = 0 if self.joints_ns is None else now - self.joints_ns
        if age <= self._max_joint_age:
            return ''
        return (f'joint_states {age / NS_PER_S:.2f} s old, '
                f'bound {self._max_joint_age / NS_PER_S:.2f} s')

    def other_writers(self) -> str:
        """Return who else publishes the robot's command."""
        return f'second writer of command: {", ".join(self.writers)}' if self.writers else ''
