# SPDX-License-Identifier: Apache-2.0
"""The policy that the schedulers play: cloned from demonstrations of `place`, kept under data/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lwd_core.checkpoint import CheckpointContents, load_checkpoint, save_checkpoint
from lwd_core.flow import ActingPolicy, FlowConfig, make_policy
from lwd_core.flow.bundle import unpack_acting
from lwd_core.instruction import embed
from lwd_core.normalization import Normalizer
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_learner.algorithms.bc import bc_loss, BcConfig
from lwd_sim.collect import collect
from lwd_sim.episode import Episode

TASK = 'place'
HORIZON = 24  # ticks; long enough for execute_steps and the longest delay
MAX_DELAY = 10  # ticks, of the policy that is trained for a prefix: 400 ms at 25 Hz
BC = BcConfig(loss='action', input_noise=0.05)


@dataclass(frozen=True)
class Recipe:
    """How the policy is cloned; a change makes another one."""

    demonstrations: int = 60
    steps: int = 2500
    hidden: int = 384
    batch: int = 256
    learning_rate: float = 1e-3
    flow_steps: int = 10

    def name(self, max_delay: int) -> str:
        """Return the folder it is kept in."""
        numbers = (self.demonstrations, self.steps, self.hidden, self.batch, max_delay)
        return f'{TASK}-h{HORIZON}-' + '-'.join(map(str, numbers))


def cloned(folder: Path, robot: RobotSpec, recipe: Recipe, max_delay: int,
           report: Callable[[str], None]) -> ActingPolicy:
    """Return the policy, cloned unless an earlier run left it in `folder`."""
    place = folder / recipe.name(max_delay)
    kept = place / 'digest'
    if not kept.is_file():
        place.mkdir(parents=True, exist_ok=True)
        contents = _clone(robot, recipe, max_delay, report)
        kept.write_text(save_checkpoint(FolderStore(place), contents).digest)
    found = load_checkpoint(FolderStore(place), kept.read_text(), robot)
    return unpack_acting(found.config, found.normalization, found.tensors, recipe.flow_steps)


def _clone(robot: RobotSpec, recipe: Recipe, max_delay: int,
           report: Callable[[str], None]) -> CheckpointContents:
    report(f'collecting {recipe.demonstrations} demonstrations of {TASK}')
    data = _transitions(collect(TASK, recipe.demonstrations))
    norms = {name: Normalizer.from_data(data[name].numpy())
             for name in ('joints', 'state', 'action')}
    sizes = {'joint_dim': data['joints'].shape[1], 'state_dim': data['state'].shape[1],
             'action_dim': data['action'].shape[2]}
    config = FlowConfig(horizon=HORIZON, hidden=recipe.hidden, prediction='action',
                        max_delay=max_delay, **sizes)
    torch.manual_seed(0)
    policy = make_policy(vars(config), norms)
    optimizer = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, recipe.steps, 0.02 * recipe.learning_rate)
    generator = torch.Generator().manual_seed(0)
    for step in range(recipe.steps):
        rows = torch.randint(len(data['joints']), (recipe.batch,), generator=generator)
        loss = bc_loss(policy, {name: x[rows] for name, x in data.items()}, BC,
                       generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            report(f'cloning (max_delay {max_delay}): step {step} of {recipe.steps}, '
                   f'loss {loss.item():.4f}')
    return CheckpointContents(policy.config(), policy.state_dict(), policy.normalization(),
                              recipe.steps, robot=robot, kind='sft')


def _transitions(episodes: list[Episode]) -> dict[str, torch.Tensor]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (
        'joints', 'state', 'instruction', 'action', 'imitate')}
    for episode in episodes:
        words = embed(episode.instruction, FlowConfig().instruction_dim)
        for tick in range(episode.steps):
            chunk = episode.actions[tick:tick + HORIZON]
            missing = HORIZON - len(chunk)
            rows['joints'].append(episode.joints[tick])
            rows['state'].append(episode.state[tick])
            rows['instruction'].append(words)
            rows['action'].append(np.pad(chunk, ((0, missing), (0, 0)), 'edge'))
            # The end of an episode is imitated as standing still: chunks reach beyond it.
            rows['imitate'].append(np.ones(HORIZON, np.float32))
    return {name: torch.from_numpy(np.array(values, np.float32)) for name, values in rows.items()}
