# SPDX-License-Identifier: Apache-2.0
"""What a step frees the next one gets back without page faults."""

import platform
import subprocess
import sys

import pytest

COUNT = '''
import resource, sys
import numpy as np
from lwd_learner.memory import keep_freed
if sys.argv[1] == 'keep':
    assert keep_freed()
def step():
    kept = [np.ones(1 << 19, np.float32) for _ in range(8)]  # 2 MiB each: mapped afresh by default
    del kept
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
'''


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, '-c', COUNT, how], check=True, capture_output=True,
                          text=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason="mallopt is glibc's")
def test_freed_blocks_are_used_again_without_page_faults():
    pages = 8 * 512
    assert faults('keep') < pages < faults('default')  # of twenty steps: less than one's
