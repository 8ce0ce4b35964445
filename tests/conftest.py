# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

LIMIT_S = 600  # the quick demonstration takes under 3 minutes on an idle machine


@pytest.fixture(scope='session')
def quick_demo(tmp_path_factory):
    """Return the folder of one run of `lwd demo --quick`: the real graph over DDS."""
    kept = os.environ.get('LWD_TEST_DEMO')  # look at an earlier run again
    if kept:
        return Path(kept)
    out = tmp_path_factory.mktemp('system') / 'demo'
    env = {key: value for key, value in os.environ.items() if key != 'ROS_DOMAIN_ID'}
    command = [sys.executable, '-m', 'lwd_bringup', 'demo', '--quick', '--out', str(out)]
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=LIMIT_S)
    if done.returncode != 0:
        pytest.fail(f'lwd demo --quick failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}')
    return out


@pytest.fixture(scope='session')
def summary(quick_demo):
    return json.loads((quick_demo / 'summary.json').read_text())
