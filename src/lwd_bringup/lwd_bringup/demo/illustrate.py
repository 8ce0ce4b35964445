# SPDX-License-Identifier: Apache-2.0
"""
Job: pictures for the report.

An evaluated start where SFT failed and the final policy did not is rolled out again with both (the
simulator repeats itself exactly), rendered as filmstrips, with what the value function thought.
"""

import base64
from typing import Any

import cv2
import numpy as np
import torch

from lwd_bringup.demo.evaluate import load
from lwd_bringup.demo.values import load_value_function, ValueFunction
from lwd_bringup.demo.worker import say
from lwd_sim.episode import Episode
from lwd_sim.evaluate import batched, rollout
from lwd_sim.rendering import CameraRenderer
from lwd_sim.world import World

FRAMES = 8
SIZE = (240, 180)  # px
JPEG_QUALITY = 82


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Return {'strips': [...]}: policy, task, seed, success, frames (data URIs), times, values."""
    torch.set_num_threads(2)
    values = load_value_function(settings)
    strips = []
    acting = {name: load(settings['store'], settings['digests'][name]) for name in ('sft', 'final')}
    for task in settings['tasks']:
        for policy, seed in choose(settings['rows'], task):
            say('illustrate', f'{task}: {policy}')
            found = rollout(batched(acting[policy]), [task], [seed], record=True,
                            execute_steps=settings['execute_steps'],
                            lookahead=settings['lookahead'],
                            pixels=settings['observation'] == 'pixels')[0]
            strips.append({'policy': policy, **strip(found.episode, values)})
    return {'strips': strips}


def choose(rows: list[dict[str, Any]], task: str) -> list[tuple[str, int]]:
    """
    Return (policy, seed) pairs to show: one start where SFT failed and the final policy did not.

    If there is none, whatever shows a failure and a success.
    """
    outcome = {(row['policy'], row['seed']): row['success'] for row in rows if row['task'] == task}
    seeds = sorted({seed for _, seed in outcome})
    better = [s for s in seeds if outcome.get(('sft', s)) is False and outcome.get(('final', s))]
    if better:
        return [('sft', better[0]), ('final', better[0])]
    good = [('final', s) for s in seeds if outcome.get(('final', s))][:1]
    bad = [(name, s) for name in ('sft', 'final') for s in seeds
           if outcome.get((name, s)) is False][:1]
    return bad + good


def strip(episode: Episode, values: ValueFunction | None) -> dict[str, Any]:
    """Return an episode as frames and a value curve."""
    shown = np.unique(np.linspace(0, episode.steps, FRAMES).round().astype(int))
    return {
        'task': episode.task, 'seed': episode.seed, 'success': bool(episode.success),
        'steps': episode.steps, 'shown': shown.tolist(), 'frames': render(episode, set(shown)),
        'values': values(episode) if values is not None else None,
    }


def render(episode: Episode, shown: set[int]) -> list[str]:
    """Return the frames at the given steps as data URIs, by repeating the executed actions."""
    world, renderer, frames = World(episode.task), CameraRenderer(*SIZE), []
    world.reset(episode.seed)
    try:
        for step in range(episode.steps + 1):
            if step in shown:
                frames.append(data_uri(renderer.render(world, ('head',))['head']))
            if step < episode.steps:
                world.step(episode.actions[step])
    finally:
        renderer.close()
    return frames


def data_uri(rgb: np.ndarray) -> str:
    """Return an RGB image uint8 [H, W, 3] as a JPEG that HTML can hold."""
    done, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError(f'OpenCV could not encode an image of shape {rgb.shape}')
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode()
