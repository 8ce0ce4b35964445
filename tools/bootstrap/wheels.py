# SPDX-License-Identifier: Apache-2.0
"""Mend paths inside an environment: the ROS 2 wheels' CMake files, and a moved checkout."""
from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import re

Substitution = tuple[str, str]  # regular expression, literal replacement

TEXT_SUFFIXES = ('.cmake', '.sh', '.json', '.txt')


def build_machine_paths(venv: str, numpy_include: str, python_include: str) -> list[Substitution]:
    """Return what turns the wheels' build-machine paths into this machine's, in order."""
    tag = r'/opt/python/cp\d+-cp\d+'
    return [
        (tag + r'/lib/python\d\.\d+/site-packages/numpy/_core/include', numpy_include),
        (tag + r'/include/python\d\.\d+', python_include),
        (tag, venv),
    ]


def moved_checkout(old_root: str, new_root: str) -> list[Substitution]:
    """Return what turns the paths of the checkout's old place into its new one."""
    return [(re.escape(old_root) + r'(?=/|\b)', new_root)]


def substitute(files: Sequence[Path], substitutions: Sequence[Substitution]) -> int:
    """Apply the substitutions to text files in place, atomically; return how many changed."""
    changed = 0
    for path in files:
        before = path.read_bytes().decode('utf-8', 'surrogateescape')
        after = before
        for pattern, replacement in substitutions:
            after = re.sub(pattern, replacement.replace('\\', r'\\'), after)
        if after != before:
            partial = path.with_name(path.name + '.partial')
            partial.write_bytes(after.encode('utf-8', 'surrogateescape'))
            partial.chmod(path.stat().st_mode)
            os.replace(partial, path)
            changed += 1
    return changed


def cmake_files(venv: Path) -> list[Path]:
    """Return the wheels' files that may hold build-machine paths."""
    return [path for path in sorted((venv / 'share').rglob('*'))
            if path.suffix in TEXT_SUFFIXES and path.is_file() and not path.is_symlink()]


def scripts(venv: Path) -> list[Path]:
    """Return the environment's text scripts, whose first line names the interpreter."""
    found = []
    for path in sorted((venv / 'bin').iterdir()):
        if path.is_file() and not path.is_symlink():
            with path.open('rb') as stream:
                if b'\0' not in stream.read(1024):
                    found.append(path)
    return found
