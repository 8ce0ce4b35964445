# SPDX-License-Identifier: Apache-2.0
"""The policy that the schedulers play: cloned from a task's demonstrations, kept under data/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from _seams.tasks import Demonstration, Task
from lwd_core.checkpoint import CheckpointContents, load_checkpoint, save_checkpoint
from lwd_core.flow import ActingPolicy, FlowConfig, make_policy
from lwd_core.flow.bundle import unpack_acting
from lwd_core.instruction import embed
from lwd_core.normalization import Normalizer
from lwd_core.store import FolderStore
from lwd_learner.algorithms.bc import bc_loss, BcConfig

HORIZON = 24  # ticks; long enough for execute_steps and the longest delay
MAX_DELAY = 10  # ticks, of the policy that is trained for a prefix: 400 ms at 25 Hz
HIDDEN, BATCH, LEARNING_RATE, FLOW_STEPS = 384, 256, 1e-3, 10


def cloned(folder: Path, task: Task, max_delay: int, report: Callable[[str], None]
           ) -> ActingPolicy:
    """Return the policy, cloned unless an earlier run left it in `folder`."""
    numbers = (task.demonstrations, task.steps, HIDDEN, BATCH, max_delay)
    place = folder / '-'.join((task.name + task.edition, f'h{HORIZON}', *map(str, numbers)))
    kept = place / 'digest'
    if not kept.is_file():
        place.mkdir(parents=True, exist_ok=True)
        contents = _clone(task, max_delay, report)
        kept.write_text(save_checkpoint(FolderStore(place), contents).digest)
    found = load_checkpoint(FolderStore(place), kept.read_text(), task.robot)
    return unpack_acting(found.config, found.normalization, found.tensors, FLOW_STEPS)


def _clone(task: Task, max_delay: int, report: Callable[[str], None]) -> CheckpointContents:
    report(f'collecting {task.demonstrations} demonstrations of {task.name}')
    data = _transitions(task.demonstrate(task.demonstrations))
    norms = {name: Normalizer.from_data(data[name].numpy())
             for name in ('joints', 'state', 'action')}
    sizes = {'joint_dim': data['joints'].shape[1], 'state_dim': data['state'].shape[1],
             'action_dim': data['action'].shape[2]}
    config = FlowConfig(horizon=HORIZON, hidden=HIDDEN, prediction='action', max_delay=max_delay,
                        **sizes)
    torch.manual_seed(0)
    policy = make_policy(vars(config), norms)
    optimizer = torch.optim.AdamW(policy.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, task.steps, 0.02 * LEARNING_RATE)
    how = BcConfig(loss='action', input_noise=task.input_noise)
    generator = torch.Generator().manual_seed(0)
    for step in range(task.steps):
        rows = torch.randint(len(data['joints']), (BATCH,), generator=generator)
        loss = bc_loss(policy, {name: x[rows] for name, x in data.items()}, how,
                       generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            report(f'cloning {task.name} (max_delay {max_delay}): step {step} of {task.steps}, '
                   f'loss {loss.item():.4f}')
    return CheckpointContents(policy.config(), policy.state_dict(), policy.normalization(),
                              task.steps, robot=task.robot, kind='sft')


def _transitions(episodes: list[Demonstration]) -> dict[str, torch.Tensor]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (
        'joints', 'state', 'instruction', 'action', 'imitate')}
    for episode in episodes:
        words = embed(episode.instruction, FlowConfig().instruction_dim)
        for tick in range(len(episode.actions)):
            chunk = episode.actions[tick:tick + HORIZON]
            missing = HORIZON - len(chunk)
            rows['joints'].append(episode.joints[tick])
            rows['state'].append(episode.state[tick])
            rows['instruction'].append(words)
            rows['action'].append(np.pad(chunk, ((0, missing), (0, 0)), 'edge'))
            # The end of an episode is imitated as standing still: chunks reach beyond it.
            rows['imitate'].append(np.ones(HORIZON, np.float32))
    return {name: torch.from_numpy(np.array(values, np.float32)) for name, values in rows.items()}
