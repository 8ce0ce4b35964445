# SPDX-License-Identifier: Apache-2.0
"""What many processes say on one terminal, also on one that stands still."""

import io
import os

from lwd_bringup.runner.console import Console, KEPT_LINES

PATIENCE_S = 120.0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_every_line_bears_its_processs_name_and_on_a_terminal_its_colour():
    stream, terminal = io.StringIO(), Terminal()
    for console in (Console(stream, width=8), Console(terminal, width=8)):
        console('policy', 'one')
        console('arbiter', 'two')
        console('policy', 'three')
        console.finish(PATIENCE_S)
    assert stream.getvalue() == 'policy   | one\narbiter  | two\npolicy   | three\n'
    colours = [line.split('m', 1)[0] for line in terminal.getvalue().splitlines()]
    assert colours[0] == colours[2] != colours[1]


def test_a_terminal_that_stands_still_keeps_nobody_waiting_and_what_it_missed_is_counted():
    read, write = os.pipe()
    with open(write, 'w') as stream, open(read) as screen:
        console, line = Console(stream), 'x' * 1000  # a pipe takes 64 of these
        # Without a thread of its own this never returns: nobody reads the pipe.
        for _ in range(3 * KEPT_LINES):
            console('policy', line)
        shown = missed = 0
        while shown + missed < 3 * KEPT_LINES:
            said = screen.readline()
            shown += line in said
            missed += int(said.split('|')[1].split()[0]) if 'not shown' in said else 0
        assert shown + missed == 3 * KEPT_LINES and shown >= KEPT_LINES and missed
        console('policy', 'goes on')
        assert screen.readline().endswith('| goes on\n')


def test_a_terminal_that_is_gone_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    stream = open(write, 'w')
    console = Console(stream)
    for _ in range(3):
        console('policy', 'hello')
        console.finish(PATIENCE_S)
    try:
        stream.close()
    except BrokenPipeError:
        pass
