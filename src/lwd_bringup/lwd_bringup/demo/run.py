# SPDX-License-Identifier: Apache-2.0
"""Run the demonstration from beginning to end and write what came of it."""

import json
from pathlib import Path
import shutil
import time
from typing import Any

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.demo.errors import DemoError
from lwd_bringup.demo.live import LiveView
from lwd_bringup.demo.phases import Phases
from lwd_bringup.demo.report import write_report
from lwd_bringup.demo.state import DemoState
from lwd_bringup.demo.summary import headline, make_summary, write_summary
from lwd_bringup.runner.signals import raise_on_termination

MARKER = '.lwd_demo'  # a folder with it is ours to empty


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Run every phase; return the summary. Ctrl-C stops all processes and keeps what there is."""
    prepare_folder(config.out)
    raise_on_termination()
    state = DemoState()
    began = time.monotonic()
    title = 'LWD demo' + (' --quick' if config.quick else '')
    with LiveView(state, title) as view:
        view.say(f"{', '.join(config.tasks)}; {config.observation}; {config.robots} robots; seed "
                 f'{config.seed}; ROS domain {config.domain}; everything goes to {config.out}')
        phases = Phases(config, state, view)
        phases.run()
        deployed = phases.deployed()
        summary = make_summary(config, state, phases.rows, deployed, len(phases.watch.metas),
                               phases.published(), phases.seconds)
        summary['wall_s'] = round(time.monotonic() - began, 1)
        write_summary(config.out / 'summary.json', summary)
        write_report(config, state, summary, deployed, phases.pictures)
        for line in headline(summary):
            view.say(line)
        view.say(f"report: {config.out / 'report.html'}")
    return summary


def prepare_folder(out: Path) -> None:
    """
    Make out an empty folder for a new run; an earlier run is kept beside it as `<out>.previous`.

    Raises DemoError for a folder that holds something else.
    """
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).is_file():
            raise DemoError(f'{out} holds files that are not a demonstration: name another --out')
        previous = out.with_name(out.name + '.previous')
        if previous.exists():
            shutil.rmtree(previous)
        out.rename(previous)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text(json.dumps({'started': time.time()}))
