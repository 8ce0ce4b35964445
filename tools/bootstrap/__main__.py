# SPDX-License-Identifier: Apache-2.0
"""Entry point: ``PYTHONPATH=tools python3 -m bootstrap``. Must parse on any Python 3."""
import os
import shutil
import sys

SUPPORTED = ((3, 10), (3, 13))


def supported_python() -> 'str | None':
    """Return the path of a supported interpreter: this one, else the first on PATH, else None."""
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return sys.executable
    for minor in (12, 11, 13, 10):
        found = shutil.which('python3.' + str(minor))
        if found:
            return found
    return None


def main() -> int:
    """Hand over to a supported interpreter, or say which one is needed."""
    python = supported_python()
    if python is None:
        sys.exit(
            'setup: Python ' + sys.version.split()[0] + ' is not supported (3.10 to 3.13 are): '
            'install one, then run: make setup PYTHON=python3.11')
    if python != sys.executable:
        os.execv(python, [python, '-m', 'bootstrap'] + sys.argv[1:])
    from bootstrap.setup import main as setup_main
    return setup_main(sys.argv[1:])


if __name__ == '__main__':
    sys.exit(main())
