# SPDX-License-Identifier: Apache-2.0
"""
The demonstration's own processes: `python -m lwd_bringup.demo.worker JOB SETTINGS.json`.

Each job writes its result whole to `settings['out']` and says how far it is in `@lwd` lines.
"""

from importlib import import_module
import json
from pathlib import Path
import sys
from typing import Any

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.runner import ProcessSpec, ros_environment

MARK = '@lwd '
JOBS = {
    'sft': 'lwd_bringup.demo.train',
    'dagger': 'lwd_bringup.demo.train',
    'evaluate': 'lwd_bringup.demo.evaluate',
    'illustrate': 'lwd_bringup.demo.illustrate',
}


def job(config: DemoConfig, kind: str, name: str, settings: dict[str, Any],
        threads: int = 1) -> ProcessSpec:
    """Return the process of a job; its settings are written to the run folder."""
    from lwd_bringup.graph import Respawn
    path = config.run_dir / 'jobs' / f'{name}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    everything = {'job': kind, 'name': name, 'out': str(path.with_suffix('.result.json')),
                  'store': str(config.store), 'learner_dir': str(config.learner_dir),
                  'observation': config.observation, 'tasks': list(config.tasks),
                  'seed': config.seed, **settings}
    path.write_text(json.dumps(everything, indent=2))
    Path(everything['out']).unlink(missing_ok=True)
    command = (sys.executable, '-m', 'lwd_bringup.demo.worker', kind, str(path))
    env = {**ros_environment(config.domain), 'OMP_NUM_THREADS': str(threads)}
    return ProcessSpec(name, command, env, respawn=Respawn(on_failure=False))


def result(config: DemoConfig, name: str) -> Any:
    """Return what a finished job wrote."""
    return json.loads((config.run_dir / 'jobs' / f'{name}.result.json').read_text())


def say(name: str, text: str) -> None:
    """Tell the live view how far a job is."""
    print(MARK + json.dumps({'event': 'progress', 'name': name, 'text': text}), flush=True)


def main(arguments: list[str]) -> None:
    """Run one job."""
    from lwd_core.store import write_atomic
    kind, path = arguments
    settings = json.loads(Path(path).read_text())
    outcome = import_module(JOBS[kind]).run(settings)
    write_atomic(Path(settings['out']), json.dumps(outcome).encode())


if __name__ == '__main__':
    main(sys.argv[1:])
