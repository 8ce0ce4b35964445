# SPDX-License-Identifier: Apache-2.0
"""Pretrain the vision trunk of the simulated cell; how config/trunks/sim.safetensors was made.

python -m lwd_sim.pretrain --frames 20000 --steps 8000 --out config/trunks/sim.safetensors
"""
import argparse
import math
from pathlib import Path
import time

import numpy as np
import torch

from lwd_core.flow.trunk import KeypointTrunk, save_trunk, TrunkConfig
from lwd_sim.features import STATE_NAMES
from lwd_sim.suite import SUITE
from lwd_sim.tasks import TASKS
from lwd_sim.trunk_data import collect_frames, Frames

RATE = 2e-3
BATCH = 48
HUBER = 0.3               # in spreads: outliers (a toppled item) must not rule the fit
BLOCK = 40                # frames; neighbours stay on one side of the validation split
VALIDATION = 12           # every n-th block


def pretrain(frames: Frames, steps: int, seed: int = 0) -> KeypointTrunk:
    """Fit a trunk to the frames; print its errors on held-out blocks as it goes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    held = (np.arange(len(frames.joints)) // BLOCK) % VALIDATION == 0
    train, valid = np.flatnonzero(~held), np.flatnonzero(held)
    joints, state = torch.from_numpy(frames.joints), torch.from_numpy(frames.state)
    images = torch.from_numpy(frames.images)
    trunk = KeypointTrunk(TrunkConfig(outputs=STATE_NAMES))
    trunk.set_scale(joints[train], state[train])
    target = (state - trunk.output_mean) / trunk.output_std
    optimizer = torch.optim.AdamW(trunk.parameters(), RATE, weight_decay=1e-4)
    started = time.monotonic()
    for step in range(steps):
        optimizer.param_groups[0]['lr'] = RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        rows = torch.from_numpy(rng.choice(train, BATCH))
        loss = torch.nn.functional.smooth_l1_loss(
            trunk(images[rows], joints[rows]), target[rows], beta=HUBER)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0:
            report = errors(trunk, images[valid], joints[valid], state[valid])
            print(f'{step + 1}/{steps} {time.monotonic() - started:.0f} s  {report}', flush=True)
    return trunk.eval().requires_grad_(False)


@torch.inference_mode()
def errors(trunk: KeypointTrunk, images: torch.Tensor, joints: torch.Tensor,
           state: torch.Tensor) -> str:
    """Return median / 90 % errors in mm of the quantities that grasping hangs on."""
    out = torch.cat([trunk(images[i:i + 256], joints[i:i + 256])
                     for i in range(0, len(joints), 256)])
    error = ((out * trunk.output_std + trunk.output_mean) - state).abs() * 1000
    parts = []
    for name in ('item/x', 'item/y', 'item/z', 'left/grasp_in_gripper/x'):
        column = error[:, STATE_NAMES.index(name)]
        parts.append(f'{name} {column.median():.1f}/{column.quantile(.9):.1f} mm')
    return ', '.join(parts)


def main() -> None:
    """Collect, fit, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=20_000)
    parser.add_argument('--steps', type=int, default=8_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--tasks', default='', help="comma separated, or 'suite'; the "
                        "demonstration's three if empty")
    parser.add_argument('--out', type=Path, default=Path('config/trunks/sim.safetensors'))
    args = parser.parse_args()
    began = time.monotonic()
    tasks = list(SUITE) if args.tasks == 'suite' else args.tasks.split(',')
    frames = collect_frames(args.frames, args.seed, tasks if args.tasks else tuple(TASKS))
    print(f'{len(frames.joints)} frames in {time.monotonic() - began:.0f} s', flush=True)
    trunk = pretrain(frames, args.steps, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_trunk(trunk, args.out)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
