# SPDX-License-Identifier: Apache-2.0
"""What an episode needs before it runs, and what of it is missing."""

from __future__ import annotations

from dataclasses import dataclass

from lwd_intervention.episode.state import State
from lwd_intervention.modes import Mode


@dataclass(frozen=True)
class EpisodeConfig:
    """What an episode needs before it runs, and how long to wait [s of wall time]."""

    robot: str
    reset_scene: bool = False
    require_recorder: bool = True
    require_policy: bool = True
    require_arbiter: bool = True
    auto_success: bool = False  # the outcome comes from the success topic
    ask_success: bool = False   # a detector is asked whether it sees the success
    reset_timeout: float = 30.0
    prepare_timeout: float = 30.0
    label_timeout: float = 30.0
    settle_ticks: int = 4       # control ticks after reset_scene before the episode may run
    loss_timeout: float = 15.0  # without clock or arbiter while RUNNING


class Readiness:
    """Recorder, policy, arbiter and scene, as last heard."""

    def __init__(self, config: EpisodeConfig) -> None:
        """Start with nothing heard."""
        self._config = config
        self.mode: Mode | None = None  # who drives
        self.settling = 0              # ticks still to pass since reset_scene
        self.recording = ''            # episode the recorder records
        self.recorder_fault = ''
        self.policy_ready = False
        self.policy_reason = 'no policy/status yet'

    def begin(self) -> None:
        """Wait anew: for another episode."""
        self.recording, self.recorder_fault, self.settling = '', '', 0

    def missing(self, state: State) -> str:
        """Return what an episode in READY still waits for, '' if nothing."""
        config = self._config
        if self.settling > 0:
            return 'the scene has not settled; does the clock stand still?'
        if config.require_recorder and self.recording != state.id:
            return f'the recorder does not record: {self.recorder_fault or "is it running?"}'
        if config.require_policy and state.start_mode == Mode.POLICY and not self.policy_ready:
            return f'the policy is not ready: {self.policy_reason}'
        if config.require_arbiter and self.mode is None:
            return 'no control_mode from the arbiter; is it running?'
        return ''
