# SPDX-License-Identifier: Apache-2.0
"""Why an episode is refused."""

from __future__ import annotations

# Every value of EpisodeError.reason.
REASONS = (
    'clock', 'damaged', 'discarded', 'meta', 'missing', 'nan', 'no_frames', 'no_outcome',
    'other_robot', 'other_type', 'truncated', 'unknown_task', 'version',
)
# What a second look may heal: the file or the connection was broken, not what was recorded.
TRANSIENT = ('damaged', 'meta', 'missing', 'truncated')


class EpisodeError(RuntimeError):
    """An episode is refused: `reason` is one of REASONS, the text what, where and the bound."""

    def __init__(self, reason: str, text: str) -> None:
        assert reason in REASONS, reason
        super().__init__(text)
        self.reason = reason
