# SPDX-License-Identifier: Apache-2.0
"""What a restarted learner goes on from: everything of OnlineLearner beside the episodes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TYPE_CHECKING

import torch

from lwd_core.checkpoint import CheckpointRef
from lwd_learner.state_io import StateError

if TYPE_CHECKING:
    from lwd_learner.online import OnlineLearner


def saved(learner: OnlineLearner) -> dict[str, Any]:
    """Return the state, for `save_state`."""
    acting = learner.agent.acting_policy()
    return {
        'agent': learner.agent.state_dict(), 'batches': learner.batches.state_dict(),
        'policy': acting.config(), 'normalization': acting.normalization(),
        'torch_rng': torch.get_rng_state(), 'step': learner.step_count,
        'offline_done': learner.offline.done, 'online_updates': learner.online_updates,
        'online_seconds': learner.online_seconds,
        'published': learner.published, 'published_step': learner.published_step,
        'parent': learner.publisher.parent, 'root': learner.root,
        'kept': [asdict(ref) for ref in learner.publisher.published],
    }


def restore(learner: OnlineLearner, state: dict[str, Any], where: str) -> None:
    """Go on from what `saved` returned; StateError, naming `where`, if it does not fit."""
    try:
        learner.agent.load_state_dict(state['agent'])
    except (KeyError, RuntimeError, ValueError) as error:
        raise StateError(f'{where}: does not fit the configuration ({error}): give the file it '
                         'was made with, or remove the state to start over') from error
    learner.batches.load_state_dict(state['batches'])
    torch.set_rng_state(state['torch_rng'])
    learner.step_count, learner.offline.done = state['step'], state['offline_done']
    learner.online_updates = state['online_updates']
    learner.published, learner.published_step = state['published'], state['published_step']
    learner.online_seconds = state['online_seconds']
    learner.publisher.parent, learner.root = state['parent'], state['root']
    learner.publisher.published = [CheckpointRef(**fields) for fields in state['kept']]
