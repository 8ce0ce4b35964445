# SPDX-License-Identifier: Apache-2.0
"""The interface of a teleoperation source: what turns a person's motion into joint positions.

The session (`session.py`) owns the deadman, the buttons, the loss rules of the Joy topic and the
talk with the arbiter; a source only answers "where shall the joints be at this tick". A page, a
phone or a motion tracker is a class of some thirty lines with these methods;
`docs/teleoperation.md` has an example. The class is made as `Class(mapping, arms, robot)`; where it
has a method `connect(node)`, that is called once, to subscribe to what it follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lwd_intervention.arbiter.records import Vector
from lwd_intervention.teleop.controls import JoySample


@dataclass(frozen=True)
class Step:
    """One tick's answer.

    positions: [d], the robot file's order and units. limit_scale: share of what was asked, by arm.
    reason: why less than asked. aligned: False while it still moves to meet the person's device.
    """

    positions: Vector
    limit_scale: dict[str, float]
    reason: str = ''
    aligned: bool = True


class TeleopSource(Protocol):
    """Stamps are ns of the robot's clock; vectors [d] are in the robot file's order."""

    name: str                  # goes into Intervention.source
    arms: tuple[str, ...]

    @property
    def moving(self) -> bool:
        """Tell whether the person asks for motion now."""

    def trouble(self, now_ns: int) -> str:
        """Return why the source itself is not to be trusted now, or ''."""

    def look(self, sample: JoySample) -> None:
        """Take a Joy message that was found sound; a source without sticks ignores it."""

    def act(self, action: str) -> str:
        """Carry out a button's action (frame, slow, select_left, ...); return what it did."""

    def begin(self, start: Vector) -> None:
        """Take over from the positions [d] sent last; the first step must be continuous."""

    def step(self, now_ns: int, held: Mapping[str, bool], measured: Vector | None) -> Step:
        """Return the positions of this tick; an arm whose deadman is not held must stand."""

    def status(self) -> dict[str, object]:
        """Return `frame`, `slow` and `selected` (arm names) for TeleopStatus, as far as known."""
