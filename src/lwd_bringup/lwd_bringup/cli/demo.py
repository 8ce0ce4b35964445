# SPDX-License-Identifier: Apache-2.0
"""`lwd demo`: the whole loop on this machine, with a report."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    quick: Annotated[bool, typer.Option(
        '--quick', help='One task, state observation, under 3 minutes.')] = False,
    observation: Annotated[str, typer.Option(
        help='What the policy sees [state | pixels] (default: as in config/demo.yaml).')] = '',
    tasks: Annotated[str, typer.Option(help='Tasks, comma separated.')] = '',
    seed: Annotated[int, typer.Option(min=0, help='Seed of starts, exploration and training.')] = 0,
    minutes: Annotated[float, typer.Option(
        min=0.0, help='Budget of the whole run; scales every phase. 0: as configured.')] = 0.0,
    out: Annotated[Path | None, typer.Option(
        help='Folder of report, summary, store and logs (default: results/demo).')] = None,
    domain: Annotated[int | None, typer.Option(
        min=0, max=101, help='ROS_DOMAIN_ID (default: a free one).')] = None,
) -> None:
    """
    Watch two simulated robots fail, be corrected, learn, reload and succeed.

    Demonstrations over ROS, behaviour cloning, deployment with learning, evaluation on held-out
    starts. Writes report.html and summary.json.
    """
    from lwd_bringup.demo.config import load_demo_config
    from lwd_bringup.demo.run import run_demo

    config = load_demo_config(
        quick=quick, observation=observation or None, seed=seed, minutes=minutes or None,
        tasks=[task.strip() for task in tasks.split(',') if task.strip()] or None, out=out,
        domain=domain)
    run_demo(config)
