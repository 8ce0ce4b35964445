# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path
import signal
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
    log = out.parent / 'output.txt'
    with log.open('w') as stream:  # a file, not pipes: what was said until a limit is there too
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=subprocess.STDOUT)
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = f'not done after {LIMIT_S} s'
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # it ends its robots itself
                try:
                    process.wait(30.0)
                except subprocess.TimeoutExpired:
                    process.kill()
    if code != 0:
        pytest.fail(f'lwd demo --quick: exit {code}\n{log.read_text()[-8000:]}', pytrace=False)
    return out


@pytest.fixture(scope='session')
def summary(quick_demo):
    return json.loads((quick_demo / 'summary.json').read_text())
