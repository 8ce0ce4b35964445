# SPDX-License-Identifier: Apache-2.0
"""Job: roll out checkpoints from held-out starts, in process and in lockstep, without takeovers."""

import time
from typing import Any

import torch

from lwd_bringup.demo.worker import say
from lwd_core.checkpoint import load_checkpoint
from lwd_core.flow.acting import ActingPolicy
from lwd_core.flow.bundle import unpack_acting
from lwd_core.store import FolderStore
from lwd_sim.evaluate import batched, rollout


def run(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return one row per episode: policy, task, seed, success, steps.

    `settings['policies']` maps a name to a digest. Every policy starts from the same seeds; where
    `seconds` per policy do not suffice, later seeds are left out for it.
    """
    torch.set_num_threads(1)
    seeds = settings['seeds']
    rows: list[dict[str, Any]] = []
    for policy, digest in settings['policies'].items():
        acting = load(settings['store'], digest)
        began = time.monotonic()
        # Blocks of seeds over all tasks: if time runs out, the tasks still have as many each.
        for start in range(0, len(seeds), settings['block']):
            if time.monotonic() - began > settings['seconds']:
                say(settings['name'], f'{policy}: out of time after {start} starts')
                break
            block = seeds[start:start + settings['block']]
            for found in rollout(batched(acting), settings['tasks'], block,
                                 execute_steps=settings['execute_steps'],
                                 lookahead=settings['lookahead'],
                                 pixels=settings['observation'] == 'pixels'):
                rows.append({'policy': policy, 'task': found.task, 'seed': found.seed,
                             'success': bool(found.success), 'steps': found.steps})
            own = [row['success'] for row in rows if row['policy'] == policy]
            say(settings['name'], f'{policy}: {sum(own)} of {len(own)} successful')
    return rows


def load(store: str, digest: str) -> ActingPolicy:
    """Return a verified checkpoint, ready to act."""
    contents = load_checkpoint(FolderStore(store, create=False), digest)
    return unpack_acting(contents.config, contents.normalization, contents.tensors)
