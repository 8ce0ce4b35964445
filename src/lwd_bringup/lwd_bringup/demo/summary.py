# SPDX-License-Identifier: Apache-2.0
"""summary.json: the figures of a demonstration. Pure but for the writing."""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.stats import success_table
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.store import write_atomic

POLICIES = ('sft', 'dagger', 'final')


def make_summary(config: DemoConfig, state: DemoState, rows: Sequence[dict[str, Any]],
                 deployed: Sequence[EpisodeMeta], recorded: int, published: int,
                 phases_s: Mapping[str, float]) -> dict[str, Any]:
    """
    Return the summary; `deployed` are the episodes of the deployment in the order recorded.

    Takeovers and losses are counted in the records of the episodes, not in what the live view saw.
    """
    lost = sum(int(topic.get('lost', 0)) for meta in deployed for topic in meta.topics.values())
    return {
        'success': success_table(rows, POLICIES),
        'takeovers_per_episode': [len(meta.interventions) for meta in deployed],
        'episodes': recorded,
        'checkpoints': {'published': published, 'loaded': state.total('loads')},
        'late_ticks': state.total('late_ticks'),
        'lost_messages': lost,
        'phases_s': {name: round(seconds, 1) for name, seconds in phases_s.items()},
        'wall_s': round(sum(phases_s.values()), 1),
        'observation': config.observation,
        'seed': config.seed,
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json whole."""
    write_atomic(path, json.dumps(summary, indent=2).encode() + b'\n')


def headline(summary: Mapping[str, Any]) -> list[str]:
    """Return the result in a few lines for a terminal."""
    lines = []
    for name, title in (('sft', 'SFT'), ('dagger', 'HG-DAgger'), ('final', 'LWD')):
        row = summary['success'][name]
        if row['mean'] is None:
            lines.append(f'{title:<10} not evaluated')
            continue
        tasks = '  '.join(f"{task} {value['mean']:.2f}" for task, value in row['tasks'].items())
        lines.append(f"{title:<10} {row['mean']:.2f}  [{row['low']:.2f}, {row['high']:.2f}]  "
                     f"n = {row['n']}   {tasks}")
    return lines
