# SPDX-License-Identifier: Apache-2.0
"""`lwd doctor`: is this machine able to run LWD, and what mends it if not."""

from typing import Annotated

import typer

from lwd_bringup.paths import default_store


def doctor(
    store: Annotated[str, typer.Option(help='Store whose disk is checked.')] = '',
) -> None:
    """Check this machine: one line per check, with what mends it."""
    from lwd_bringup.doctor import run_checks

    failures = 0
    for result in run_checks(store or default_store()):
        mark = {'ok': '  ok', 'warn': 'warn', 'fail': 'FAIL'}[result.verdict]
        mend = f'  ->  {result.mend}' if result.mend and result.verdict != 'ok' else ''
        print(f'{mark}  {result.name:<14} {result.detail}{mend}', flush=True)
        failures += result.verdict == 'fail'
    if failures:
        raise typer.Exit(1)
