# SPDX-License-Identifier: Apache-2.0
"""`lwd`: demo, up, doctor, train, evaluate, value, episodes, bags, checkpoints,
policy.
"""

import sys
from typing import Annotated

import typer

from lwd_bringup import __version__
from lwd_bringup.cli import (
    bags,
    checkpoints,
    demo,
    doctor,
    episodes,
    evaluate,
    operate,
    policy,
    replay,
    takeovers,
    train,
    up,
    value,
)

app = typer.Typer(
    name='lwd', no_args_is_help=True, rich_markup_mode='markdown', pretty_exceptions_enable=False,
    help='LWD: a robot fleet that learns while it works.',
    context_settings={'help_option_names': ['-h', '--help']},
)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(evaluate.evaluate)
app.command()(value.value)
app.command()(replay.replay)
app.command()(operate.operate)
app.command()(takeovers.takeovers)
app.add_typer(up.app, name='up')
app.add_typer(train.app, name='train')
app.add_typer(episodes.app, name='episodes')
app.add_typer(bags.app, name='bags')
app.add_typer(checkpoints.app, name='checkpoints')
app.add_typer(policy.app, name='policy')


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f'lwd {__version__}')
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option('--version', callback=_print_version, is_eager=True,
                                          help='Print the version.')] = False,
) -> None:
    """LWD: a robot fleet that learns while it works."""


def main() -> None:
    """Run the command; expected errors are one line, not a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
        print(f'lwd: {error}', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
