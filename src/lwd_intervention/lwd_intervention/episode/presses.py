# SPDX-License-Identifier: Apache-2.0
"""Presses of a label button: only their edges count, and never across an episode's boundary."""

from __future__ import annotations

HELD = 0.6  # s of wall time; requests that follow one another faster are one button, held


class Presses:
    """Tell a press from a button that is held since before the episode could be labelled.

    A source that repeats its requests while the button is down must not label the next episode.
    Only requests that do not name their episode can: one that does says what it means.
    """

    def __init__(self) -> None:
        """Start with no button down."""
        self._episode = ''
        self._at = -HELD

    def held(self, episode: str, wall: float) -> bool:
        """Take a request made while `episode` can be labelled ('' while none can).

        Returns whether the button was down already before this episode could be labelled.
        """
        held = wall - self._at < HELD and self._episode != episode
        self._at = wall
        if not held:
            self._episode = episode
        return held
