# SPDX-License-Identifier: Apache-2.0
"""Make the shared fakes importable, whatever import mode pytest runs in."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parent))
