# SPDX-License-Identifier: Apache-2.0
"""`lwd takeovers EPISODE`: what people corrected, and what the policy would have done instead."""

from pathlib import Path
from typing import Annotated

import typer

from lwd_bringup.paths import default_store


def takeovers(
    episode: Annotated[str, typer.Argument(help='Episode id, or how it starts.')],
    store: Annotated[str, typer.Option(
        help='Store folder (default: LWD_STORE or ./data/store).')] = '',
    plot: Annotated[Path | None, typer.Option(
        help='Also draw executed and would-be actions into this PNG.')] = None,
) -> None:
    """List an episode's takeovers, with the difference to the policy's shadow where recorded."""
    from lwd_bringup.catalogue import find_episode
    from lwd_bringup.operate.takeovers import draw, read, rows

    folder, meta = find_episode(store or default_store(), episode)
    found = read(folder, meta)
    print(f'{meta.id}: {meta.task}, {meta.outcome}, {len(meta.interventions)} takeovers')
    for row in rows(meta, found):
        print(row)
    if not found and meta.interventions:
        print('no shadow chunk was recorded within them: too short, or the policy ran without '
              'shadow')
    if plot is not None:
        if not found:
            raise ValueError(f'{meta.id}: nothing to draw, no shadow chunks were recorded')
        print(f'wrote {draw(found, meta, plot)}')
