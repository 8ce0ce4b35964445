# SPDX-License-Identifier: Apache-2.0
"""Real-time priority for a process whose answers cannot wait, where the system permits it."""

from __future__ import annotations

import os


def prefer_this_process(priority: int) -> str:
    """Put every thread of this process under SCHED_FIFO; return what came of it, for the log.

    priority: 1 to 90, below the kernel's own threads. Threads started later inherit it.
    """
    if not hasattr(os, 'sched_setscheduler'):
        return 'no real-time priority: this system has no SCHED_FIFO'
    try:
        for thread in os.listdir('/proc/self/task'):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(priority))
    except (PermissionError, ProcessLookupError) as error:
        return (f'no real-time priority ({error.strerror}): a busy machine may delay a takeover; '
                f'permit it with "@robot - rtprio {priority}" in /etc/security/limits.d')
    return f'real-time priority {priority}'
