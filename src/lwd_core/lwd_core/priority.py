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

CONTROL_PRIORITY = 20  # of 99: above everything ordinary, below the kernel's own threads
NODE_PRIORITY = 10  # below the control thread, which waits for what these hold
RAISED_NICENESS = -10
SWITCH_INTERVAL_S = 1e-4  # how long a thread may keep the interpreter while another one waits
TIMER_SLACK_NS = 1000  # the kernel's default of 50 us is lateness
PR_SET_TIMERSLACK = 29

ORDINARY_NICENESS = os.getpriority(os.PRIO_PROCESS, 0)  # before anything here raised it


def raise_process() -> str:
    """Favour this process; threads started later inherit it. Return what was had, in words.

    Every thread: the control thread waits for the interpreter and for locks of the middleware, and
    whoever holds them must not wait for the rest of the machine. Only for processes that mostly
    wait; what they start is to be given `ordinary` priority.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        for thread in _threads():
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(NODE_PRIORITY))
        return f'SCHED_RR {NODE_PRIORITY}'
    except OSError:
        pass
    wanted = ORDINARY_NICENESS + RAISED_NICENESS
    try:
        for thread in _threads():
            os.setpriority(os.PRIO_PROCESS, thread, wanted)
        return f'niceness {wanted} (SCHED_RR is not permitted: see LimitRTPRIO)'
    except OSError:
        return f'niceness {ORDINARY_NICENESS} (neither SCHED_RR nor a lower one is permitted)'


def raise_thread() -> str:
    """Make the calling thread preempt all ordinary ones. Return what was had, in words."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CONTROL_PRIORITY))
        return f'SCHED_FIFO {CONTROL_PRIORITY}'
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 2 * RAISED_NICENESS)
        return f'niceness {2 * RAISED_NICENESS} (SCHED_FIFO is not permitted: see LimitRTPRIO)'
    except OSError:
        return 'ordinary (neither SCHED_FIFO nor niceness is permitted: see LimitRTPRIO)'


def make_ordinary(pid: int, niceness: int = 0) -> None:
    """Take back what a process inherited; `niceness` counts from this process's at its start."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, pid, ORDINARY_NICENESS + niceness)


def step_back_all(niceness: int) -> None:
    """Let every thread of this process yield, and those it starts later.

    `niceness` counts from this process's at its start; a thread that stands further back stays.
    """
    wanted = ORDINARY_NICENESS + niceness
    for thread in _threads():
        with contextlib.suppress(OSError, AttributeError):
            if os.getpriority(os.PRIO_PROCESS, thread) < wanted:
                os.setpriority(os.PRIO_PROCESS, thread, wanted)


def _threads() -> list[int]:
    return [int(name) for name in os.listdir('/proc/self/task')]


def freeze_garbage() -> None:
    """Take what exists now out of the collector's sight: a full collection becomes short."""
    gc.collect()
    gc.freeze()
