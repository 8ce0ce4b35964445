# SPDX-License-Identifier: Apache-2.0
"""Settings that several parts of a demonstration must share: the learner's, the chunk rhythm."""

from pathlib import Path
from typing import Any

import yaml

from lwd_bringup.demo.config import DemoConfig
from lwd_bringup.paths import config_dir
from lwd_core.store import write_atomic

CONSOLIDATE = 0.4  # share of the deployment


def write_learner_config(config: DemoConfig) -> Path:
    """Write config/learner/demo.yaml with the demonstration's changes over it; return the path."""
    base = config_dir() / 'learner' / 'demo.yaml'
    sections: dict[str, Any] = yaml.safe_load(base.read_text()) or {}
    for name, changes in config.learner.items():
        sections[name] = {**(sections.get(name) or {}), **changes}
    # The deployment of a demonstration ends: its last part consolidates what was learned.
    consolidate = CONSOLIDATE * config.deploy_s
    sections.setdefault('learning', {}).update(
        anneal_after=config.deploy_s - consolidate, anneal_seconds=consolidate)
    path = config.run_dir / 'learner.yaml'
    write_atomic(path, yaml.safe_dump(sections).encode())
    return path


def chunk_rhythm() -> tuple[int, int]:
    """Return (execute_steps, lookahead) as the policy node gets them, for the evaluation."""
    path = config_dir() / 'params' / 'policy.yaml'
    values = yaml.safe_load(path.read_text())['/**']['ros__parameters']
    return int(values['execute_steps']), int(values['lookahead'])
