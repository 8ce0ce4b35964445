# SPDX-License-Identifier: Apache-2.0
"""Run one of benchmarks/*.py by its name."""
from __future__ import annotations

import os
from pathlib import Path
import sys

BENCHMARKS = Path(__file__).resolve().parents[1] / 'benchmarks'


def main(arguments: list[str]) -> None:
    """Replace this process by the benchmark, or list what there is."""
    name = arguments[0] if arguments else ''
    script = BENCHMARKS / f'{name}.py'
    known = sorted(path.stem for path in BENCHMARKS.glob('*.py') if not path.stem.startswith('_'))
    if name not in known:
        there = '\n'.join(f'  make bench NAME={stem}' for stem in known) or '  none yet'
        asked = f"no benchmark is named '{name}'" if name else 'which benchmark? NAME is missing'
        sys.exit(f'bench: {asked}; there are:\n{there}')
    os.execv(sys.executable, [sys.executable, str(script), *arguments[1:]])


if __name__ == '__main__':
    main(sys.argv[1:])
