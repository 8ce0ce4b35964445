# SPDX-License-Identifier: Apache-2.0
"""Make the helper modules of this folder importable under pytest's importlib mode."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parent))
