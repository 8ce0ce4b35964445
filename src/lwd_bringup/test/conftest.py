# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
import sys

# Tests are collected by path; their shared fakes are found beside them.
sys.path.insert(0, str(Path(__file__).parent))
