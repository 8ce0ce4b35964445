# SPDX-License-Identifier: Apache-2.0
"""The page of a run: what was run, what came out, and what its notes say of it."""

from __future__ import annotations

import os
from pathlib import Path
import platform
from typing import Any

from _table.paired import paired_table
from _table.plan import is_long, methods_of, Profile
from _table.report import critic_table, Row, table


def page(profile: Profile, name: str, rows: list[Row], results: dict[str, dict[str, Any]],
         done: tuple[int, int], drawn: bool) -> str:
    """Return the page: what was run, what came out; `done`: pieces, of how many."""
    work_hours = sum(float(one['seconds']) for one in results.values()) / 3600
    methods = ', '.join(method.title for method in methods_of(profile).values())
    observation = ('state observation' if profile.observation == 'state' else
                   'pixels through a frozen trunk (config/trunks/suite.safetensors)')
    parts = [
        '# The learning table', '',
        f'Made by `make bench NAME=learning_table ARGS="--profile {name} --page"` '
        f'({done[0]} of {done[1]} pieces done, {work_hours:.2f} process hours on '
        f'{platform.machine()}, {os.cpu_count()} cores, no GPU). {methods}: one code base, one '
        f'recipe, {observation}.', '',
        f'Every method starts from the same SFT policy ({profile.demonstrations} demonstrations a '
        f"task, {profile.sft_steps} updates). Offline: these, of suite tasks also the rest of the "
        f"paper's mix by robot time (others' rollouts, recoveries, aborted attempts, play), and "
        f'{profile.rollouts} autonomous rollouts a task of that policy, {profile.offline_steps} '
        f'updates. Online: {profile.rounds} rounds of {profile.round_episodes} episodes a task, '
        f'the scripted operator watching and correcting {profile.watched:.0%} of them (the others '
        f'fail where they fail), {profile.round_steps} updates after each. Evaluation: '
        f'{profile.starts} held-out starts a task, nobody takes over; score = success, or the '
        'sub-step score of long tasks. Intervals: 95 %, bootstrap over seeds, then episodes. '
        'Cycle: mean episode, failures at the time limit. Robot hours: of all data learned from.',
        '', table(profile, rows), '', *against(profile, rows),
        '## Success over robot hours', '', '![](success.png)', '',
        '## What the critics ended with', '', critic_table(profile, results)]
    if drawn:
        parts += ['', '## Values along deployed episodes', '', '![](values.png)']
    return '\n'.join(parts) + '\n'


def against(profile: Profile, rows: list[Row]) -> list[str]:
    """Return the section that compares LWD online with every other row; none without it."""
    ours = next((row for row in rows if (row.method, row.online) == ('lwd', True)), None)
    if ours is None:
        return []
    long = [task for task in profile.tasks if is_long(task)]
    return ['## LWD online against each', '',
            'Differences on the same starts and seeds, in points, with 95 % intervals (bootstrap '
            'over seeds, then starts); bold where 0 is not in them.',
            '', paired_table(rows, ours, profile.tasks, long), '']


def write_page(docs: Path, name: str, out: Path, text: str, drawn: bool) -> None:
    """Put the page, with what notes/NAME.md says of it, and its pictures from `out` under docs."""
    stem = f'learning_table_{name}'
    for picture in ('success.png', *(('values.png',) if drawn else ())):
        target = docs / 'images' / f'{stem}_{picture}'
        target.write_bytes((out / picture).read_bytes())
        text = text.replace(f'({picture})', f'(images/{target.name})')
    notes = Path(__file__).parent / 'notes' / f'{name}.md'
    (docs / f'{stem}.md').write_text(
        text + ('\n' + notes.read_text() if notes.is_file() else ''))
