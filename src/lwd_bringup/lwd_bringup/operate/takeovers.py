# SPDX-License-Identifier: Apache-2.0
"""The takeovers of a recorded episode against the shadow policy: rows for people, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lwd_bringup.operate.shadow import Difference, differences
from lwd_core.episode import EpisodeBagReader
from lwd_core.robot import RobotSpec

TOPICS = ('policy/chunk', 'executed_action')


def read(folder: Path, meta: Any) -> list[Difference]:
    """Return the differences recorded in an episode's folder, oldest first."""
    reader = EpisodeBagReader(folder / meta.bag['file'])
    names = {name: topic for name in reader.topics for topic in TOPICS
             if name.endswith(f'/{topic}')}
    period = RobotSpec.from_dict(meta.robot_spec).period_ns
    messages = sorted(reader.messages(set(names)), key=lambda item: item[1])
    return differences(((names[topic], message) for topic, _, message in messages), period)


def rows(meta: Any, found: list[Difference]) -> Iterator[str]:
    """Yield one line a takeover: when, who, why, and how the policy would have differed."""
    for one in meta.interventions:
        start, end = one['start_ns'], one['end_ns'] or meta.ended_ns
        text = (f'  {one["id"]}: ticks {one["start_tick"]} to {one["end_tick"]}, '
                f'{(end - start) / 1e9:.1f} s by {one["operator"] or "?"} with '
                f'{one["source"] or "?"}: {one["reason"]}; ended: {one["end_reason"] or "?"}')
        inside = [difference for difference in found if start <= difference.stamp_ns < end]
        yield text + (f'\n     policy would differ: {_summary(inside)}' if inside else '')


def _summary(inside: list[Difference]) -> str:
    values = np.abs([difference.values for difference in inside])  # [ticks, d]
    joint = int(values.max(axis=0).argmax())
    return (f'{values.max(axis=1).mean():.3f} on average, at most {values[:, joint].max():.3f} at '
            f'{inside[0].joint_names[joint]}, over {len(inside)} ticks')


def draw(found: list[Difference], meta: Any, path: Path) -> Path:
    """Draw the difference of the joints that differ most over the episode; return the file."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    values = np.array([difference.values for difference in found])
    seconds = np.array([difference.stamp_ns - meta.started_ns for difference in found]) / 1e9
    figure, axes = pyplot.subplots(figsize=(9, 4), layout='constrained')
    for joint in np.argsort(-np.abs(values).max(axis=0))[:5]:
        axes.plot(seconds, values[:, joint], '.', markersize=3, label=found[0].joint_names[joint])
    for one in meta.interventions:
        axes.axvspan((one['start_ns'] - meta.started_ns) / 1e9,
                     ((one['end_ns'] or meta.ended_ns) - meta.started_ns) / 1e9, alpha=0.1)
    axes.axhline(0.0, color='grey', linewidth=0.5)
    axes.set(xlabel='s of the episode', ylabel='executed less would-be (rad, or share of the jaw)',
             title=f'{meta.id}: what the person did otherwise than the policy would have')
    figure.legend(loc='outside right upper', fontsize='small')
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
