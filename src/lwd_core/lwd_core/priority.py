# SPDX-License-Identifier: Apache-2.0
"""Give the control thread of a process what the kernel permits, and keep Python out of its way.

On a robot: `LimitRTPRIO=` and `LimitNICE=` of the service, or `rtprio` and `nice` in
/etc/security/limits.conf, permit it without root. Where nothing is permitted everything still runs,
with the ordinary priority; the log says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading

FIFO_PRIORITY = 20  # of 99: above everything ordinary, below the kernel's own threads
RAISED_NICENESS = -10
SWITCH_INTERVAL_S = 1e-4  # how long a thread may keep the interpreter while another one waits
TIMER_SLACK_NS = 1000  # the kernel's default of 50 us is lateness
PR_SET_TIMERSLACK = 29

ORDINARY_NICENESS = os.getpriority(os.PRIO_PROCESS, 0)  # before anything here raised it


def raise_process() -> str:
    """Favour this process; threads started later inherit it. Return what was had, in words."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    wanted = ORDINARY_NICENESS + RAISED_NICENESS
    try:
        # Every thread: those of the middleware carry what the control thread waits for.
        for thread in os.listdir('/proc/self/task'):
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(thread), wanted)
        return f'niceness {wanted}'
    except OSError:
        return f'niceness {ORDINARY_NICENESS} (a lower one is not permitted: see LimitNICE)'


def raise_thread() -> str:
    """Make the calling thread preempt all ordinary ones. Return what was had, in words."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)
    try:
        # Reset on fork: a worker started from here must not inherit it.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK,
                              os.sched_param(FIFO_PRIORITY))
        return f'SCHED_FIFO {FIFO_PRIORITY}'
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 2 * RAISED_NICENESS)
        return f'niceness {2 * RAISED_NICENESS} (SCHED_FIFO is not permitted: see LimitRTPRIO)'
    except OSError:
        return 'ordinary (neither SCHED_FIFO nor niceness is permitted: see LimitRTPRIO)'


def freeze_garbage() -> None:
    """Take what exists now out of the collector's sight: a full collection becomes short."""
    gc.collect()
    gc.freeze()
