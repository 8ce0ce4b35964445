# SPDX-License-Identifier: Apache-2.0
"""`lwd value`: what the value function thought along a recorded episode."""

from pathlib import Path
from typing import Annotated

import typer


def value(
    bag: Annotated[str, typer.Argument(
        help="An episode's folder, its .mcap, or how its id starts (with --store).")],
    learner: Annotated[Path | None, typer.Option(
        help="Learner's folder, with its critic (default: beside the episode's store).")] = None,
    config: Annotated[Path | None, typer.Option(
        help='Learner YAML it ran with (default: as `lwd demo` left it, or none).')] = None,
    store: Annotated[str, typer.Option(
        help='Store in which an id is looked up (default: LWD_STORE or ./data/store).')] = '',
    robot_file: Annotated[str, typer.Option(
        help='Robot YAML (default: the one in the recording).')] = '',
    camera: Annotated[str, typer.Option(help='Camera of the filmstrip (default: the first).')] = '',
    out: Annotated[Path | None, typer.Option(
        help='Folder of value.png and value.html (default: results/value/<episode>).')] = None,
) -> None:
    """
    Draw the distribution of the value over an episode, with interventions and chunk boundaries.

    Writes a PNG and a self-contained HTML page, with a filmstrip if the bag holds images.
    """
    from lwd_bringup.value.page import page
    from lwd_bringup.value.picture import picture
    from lwd_bringup.value.sources import find_bag, find_config, find_learner
    from lwd_bringup.value.view import look
    from lwd_core.store import write_atomic

    folder = find_bag(bag, store)
    critic = find_learner(folder, learner)
    view = look(folder, critic, find_config(critic, config), robot_file, camera)
    target = out or Path('results') / 'value' / view.meta.id
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(target / 'value.png', picture(view))
    write_atomic(target / 'value.html', page(view).encode())
    mean = view.trace['mean']
    print(f'{view.meta.id}: {view.meta.outcome}, {len(mean)} ticks, value {mean[0]:.2f} -> '
          f'{mean[-1]:.2f}, {len(view.human)} times a person drove, {len(view.chunks)} chunks, '
          f'{len(view.frames)} frames' + ('' if view.frames else ' (the bag holds no images)'))
    print(target / 'value.html')
