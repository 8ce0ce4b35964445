# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and value plots need Python packages only: rclpy is never imported."""

from pathlib import Path
import subprocess
import sys

import numpy as np

BLOCKED = '''
import sys
for name in ('rclpy', 'lwd_msgs', 'std_msgs', 'sensor_msgs'):
    sys.modules[name] = None  # an import of it fails
from typer.testing import CliRunner
from lwd_bringup.cli.main import app
for line in sys.argv[1].splitlines():
    result = CliRunner().invoke(app, line.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
import lwd_bringup.evaluation, lwd_bringup.offline, lwd_bringup.online, lwd_bringup.value.view
assert sys.modules['rclpy'] is None
'''


def test_commands_run_where_rclpy_cannot_be_imported(tmp_path: Path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'data.npz', observations=rng.normal(size=(40, 3)),
             actions=rng.uniform(-1, 1, (40, 2)), rewards=rng.normal(size=40),
             terminals=np.arange(40) % 10 == 9, timeouts=np.zeros(40))
    (tmp_path / 'tiny.yaml').write_text(
        'policy: {horizon: 3, hidden: 16, layers: 1}\nsft: {steps: 2, batch: 8}\n'
        'learning: {batch: 8, offline_steps: 2}\n'
        'agent: {critic: {hidden: 16, layers: 1, chunk: flat}}\n')
    lines = (f'train offline --npz {tmp_path}/data.npz --out {tmp_path}/out '
             f'--config {tmp_path}/tiny.yaml\n'
             f'train online --store {tmp_path}/store --out {tmp_path}/learner --seconds 0.1\n'
             'train online --help\nevaluate --help\nvalue --help')
    found = subprocess.run([sys.executable, '-c', BLOCKED, lines], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr + found.stdout
