# SPDX-License-Identifier: Apache-2.0
"""What ends a demonstration early, as one message that says where to look."""

from lwd_bringup.runner.process import describe_exit, Process

SHOWN_LINES = 12


class DemoError(RuntimeError):
    """The demonstration cannot go on."""


def dead_process(process: Process, phase: str) -> DemoError:
    """Describe a process that died for good: what, where, its last words, its log."""
    tail = [line for line in process.tail if line.strip()][-SHOWN_LINES:]
    shown = '\n'.join(f'    {line}' for line in tail) or '    (it said nothing)'
    times = f' after {process.restarts} restarts' if process.restarts else ''
    return DemoError(
        f"phase '{phase}': {process.spec.name} died with {describe_exit(process.exit_code)}{times}."
        f' Its last lines:\n{shown}\n  The whole log: {process.log}')
