# SPDX-License-Identifier: Apache-2.0
"""Priorities in a process of their own: what is had is said, and a child does not inherit it."""

import os
import subprocess
import sys

SCRIPT = '''
import os, subprocess, sys, threading
from lwd_core import priority
{deny}
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
said = [priority.raise_process(), '']
def control():
    said[1] = priority.raise_thread()
    print(os.sched_getscheduler(0) == os.SCHED_FIFO)
thread = threading.Thread(target=control)
thread.start()
thread.join()
def scheduler(thread):
    try:
        return os.sched_getscheduler(int(thread))
    except ProcessLookupError:  # it ended since it was listed
        return os.SCHED_RR
print({{scheduler(t) for t in os.listdir('/proc/self/task')}} == {{os.SCHED_RR}})
child = subprocess.Popen(['sleep', '5'])
priority.make_ordinary(child.pid, 3)
print(os.sched_getscheduler(child.pid) == os.SCHED_OTHER,
      os.getpriority(os.PRIO_PROCESS, child.pid) == priority.ORDINARY_NICENESS + 3)
child.kill()
print(*said, sep='; ')
'''
DENY = '''
def no(*a): raise PermissionError('not permitted')
os.sched_setscheduler = os.setpriority = no
'''


def run(deny=''):
    done = subprocess.run([sys.executable, '-c', SCRIPT.format(deny=deny)], text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_the_kernel_permits_is_taken_by_every_thread_and_said():
    control, node, child, said = run()
    permitted = 'SCHED_RR 10; SCHED_FIFO 20' == said
    assert (control == node == 'True') == permitted
    assert permitted or 'not permitted' in said
    assert child == 'True True'


def test_without_permission_everything_still_runs_and_the_log_says_which_limit_to_raise():
    control, node, _, said = run(DENY)
    assert control == node == 'False'
    assert said.count('permitted') == 2 and 'LimitRTPRIO' in said
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
