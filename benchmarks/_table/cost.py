# SPDX-License-Identifier: Apache-2.0
"""What a run costs before it is begun: processor seconds of each piece, and of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _table.plan import is_long, METHODS, Piece, Profile

# Processor seconds on one core of an x86-64 server: an update of each algorithm at the shared
# recipe's sizes, and a control step of an episode with its share of inference (watched: with the
# expert who looks on). `lwd` is V, Q, a clone of 128 steps, and QAM at every eighth.
UPDATE = {'sft': 0.012, 'filtered_bc': 0.012, 'hg_dagger': 0.012, 'iql': 0.020, 'recap': 0.015,
          'lwd': 0.035}
STEP, WATCHED_STEP = 0.0008, 0.0018
SEEN_STEP = 0.006  # three cameras, compressed and read back, and the trunk
EPISODE = {False: 160, True: 900}  # control steps of a short task's episode, of a long one's


def seconds(piece: Piece, profile: Profile) -> float:
    """Return the estimated processor time of one piece, in s."""
    sees = profile.observation == 'pixels'
    steps = sum(EPISODE[is_long(task)] for task in profile.tasks)
    if piece.kind == 'mixture':
        length = EPISODE[is_long(piece.method)]
        return length * 2 * profile.demonstrations * (WATCHED_STEP + (SEEN_STEP if sees else 0.0))
    if piece.kind == 'data':
        return (profile.sft_steps * UPDATE['sft']
                + steps * profile.rollouts * (STEP + (SEEN_STEP if sees else 0.0)))
    if sees:  # a chunk is planned every eighth step
        steps *= 1 + SEEN_STEP / 8 / STEP
    if piece.kind == 'evaluate':
        last = piece.round in (0, profile.rounds)
        return steps * STEP * (profile.starts if last else profile.round_starts)
    method = METHODS[piece.method].agent.get('algorithm')
    update = UPDATE[{'lwd': 'lwd', 'dagger': 'hg_dagger'}.get(method, piece.method)]
    if piece.kind == 'offline':
        return profile.offline_steps * update
    mixed = profile.watched * WATCHED_STEP + (1 - profile.watched) * STEP
    if sees:
        mixed += SEEN_STEP
    return profile.round_steps * update + steps * profile.round_episodes * mixed


def plan_table(plan: Sequence[Piece], profile: Profile, results: Mapping[str, Mapping[str, Any]],
               processes: int) -> str:
    """Return the pieces by seed 0's names with estimates, measured ones where done, and the sum."""
    lines = [f'{"piece (of every seed)":32} {"estimate":>9} {"measured":>9}  CPU s, mean of seeds']
    for piece in plan:
        if piece.seed:
            continue
        own, names = piece.name, [piece.name]
        if piece.kind != 'mixture':  # one of each seed
            own = piece.name.split('/', 1)[1]
            names = [f'{seed}/{own}' for seed in range(profile.seeds)]
        found = [cpu for name in names if (cpu := results.get(name, {}).get('cpu')) is not None]
        measured = f'{sum(found) / len(found):9.0f}' if found else f'{"-":>9}'
        lines.append(f'{own:32} {seconds(piece, profile):9.0f} {measured}')
    left = sum(seconds(piece, profile) for piece in plan if piece.name not in results)
    whole = sum(seconds(piece, profile) for piece in plan)
    lines.append(f'{len(plan)} pieces, {whole / 3600:.1f} CPU hours; left: {left / 3600:.1f}, '
                 f'{left / 3600 / max(1, processes):.1f} h on {processes} idle core(s)')
    return '\n'.join(lines)
