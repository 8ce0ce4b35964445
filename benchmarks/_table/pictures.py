# SPDX-License-Identifier: Apache-2.0
"""The table's pictures: success over robot hours, values along episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
import numpy as np

from _table.plan import methods_of, Profile
from _table.report import curve
from _table.work import Bench, load_episodes, load_policy
from lwd_learner.build import make_agent
from lwd_learner.online import STATE_FILE
from lwd_learner.state_io import load_state
from lwd_learner.value import episode_values

DPI = 130


def success_over_hours(profile: Profile, results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw every online method's curve; it begins where its offline phase ended."""
    figure = Figure(figsize=(7, 4), dpi=DPI, layout='constrained')
    axes = figure.add_subplot()
    for name, method in methods_of(profile).items():
        points = curve(profile, results, name) if method.online else []
        if points:
            axes.plot(*zip(*points), marker='o', ms=4, ls='--' if method.ablation else '-',
                      label=method.title)
    axes.set(xlabel='robot hours learned from', ylabel='success on held-out starts', ylim=(0, 1))
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc='lower right')
    figure.savefig(path)


def values(bench: Bench, path: Path, seed: int = 0, method: str = 'lwd') -> bool:
    """Draw V along deployed episodes, one a task that was corrected; False: nothing to draw."""
    profile = bench.profile
    folder = bench.folder(seed, method, profile.rounds)
    if not (folder / STATE_FILE).is_file():
        return False
    config = bench.config(method)
    agent = make_agent(config, load_policy(bench.folder(seed, 'sft', 0)), seed)
    agent.load_state_dict(load_state(folder / STATE_FILE)['agent'])
    episodes = load_episodes(bench.out / 'data' / str(seed) / method / str(profile.rounds))
    figure = Figure(figsize=(9, 2.4 * len(profile.tasks)), dpi=DPI, layout='constrained')
    for row, task in enumerate(profile.tasks):
        own = [one for one in episodes if one.task == task]
        chosen = max(own, key=lambda one: (bool((one.source == 2).any()), -len(one)))
        trace = episode_values(agent, chosen, config)
        axes = figure.add_subplot(len(profile.tasks), 1, row + 1)
        time = np.arange(len(chosen)) / 25.0
        axes.fill_between(time, 0, 1, where=chosen.source == 2, color='tab:orange', alpha=0.25,
                          lw=0, label='a person drove')
        if 'low' in trace:
            axes.fill_between(time, trace['low'], trace['high'], color='tab:blue', alpha=0.2, lw=0,
                              label='10 % to 90 % of V')
        axes.plot(time, trace['mean'], color='tab:blue', label='mean of V')
        axes.plot(time, trace['q'], color='tab:green', lw=1, label='Q of what was executed')
        axes.set(xlim=(0, time[-1]), ylim=(-0.1, 1.1), ylabel=task,
                 title=f'{task}: {"success" if chosen.success else "failure"}')
        axes.spines[['top', 'right']].set_visible(False)
    figure.axes[0].legend(fontsize=7, frameon=False, ncols=4, loc='lower left')
    figure.axes[-1].set_xlabel('s')
    figure.savefig(path)
    return True
