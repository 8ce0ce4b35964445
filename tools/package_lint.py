# SPDX-License-Identifier: Apache-2.0
"""Compare each package's imports with the dependencies that its package.xml declares."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
import sys
import xml.etree.ElementTree as ElementTree

ROOT = Path(__file__).resolve().parents[1]

# Python modules and the rosdep keys (or ROS packages) that bring them. A module with None has no
# rosdep key: it comes from requirements/, and setup.py names it in install_requires.
KEYS: dict[str, str | None] = {
    'numpy': 'python3-numpy', 'cv2': 'python3-opencv', 'yaml': 'python3-yaml',
    'psutil': 'python3-psutil', 'matplotlib': 'python3-matplotlib', 'jinja2': 'python3-jinja2',
    'rich': 'python3-rich', 'typer': 'python3-typer', 'PIL': 'python3-pil',
    'pytest': 'python3-pytest', 'hypothesis': 'python3-hypothesis',
    'setuptools': 'python3-setuptools', 'msgpack': 'python3-msgpack',
    'websockets': 'python3-websockets',
    'torch': None, 'mujoco': None, 'gymnasium': None, 'safetensors': None, 'rosbags': None,
    'mcap': None, 'mcap_ros2': None, 'obstore': None, 'mink': None, 'pygame': None,
    'textual': None, 'onnx': None, 'onnxruntime': None, 'av': None, 'pyarrow': None,
    'moto': None, 'rerun': None, 'lerobot': None, 'transformers': None,
}
ROS_PACKAGES = frozenset((
    'rclpy', 'cv_bridge', 'message_filters', 'launch', 'launch_ros', 'ament_index_python',
    'action_msgs', 'builtin_interfaces', 'std_msgs', 'std_srvs', 'sensor_msgs', 'geometry_msgs',
    'trajectory_msgs', 'diagnostic_msgs', 'lifecycle_msgs', 'rosgraph_msgs', 'rcl_interfaces',
    'unique_identifier_msgs', 'rosidl_runtime_py', 'tf2_ros',
))
# Modules of a dependency that has another name, or of the standard tools around it.
PART_OF = {'rpyutils': 'rclpy', 'rosidl_parser': 'rosidl_default_generators'}
# Distribution names where they differ from the module's.
DISTRIBUTIONS = {'mcap_ros2': 'mcap-ros2-support', 'pygame': 'pygame-ce', 'rerun': 'rerun-sdk'}
# Declared for robots with ROS 2 installed although nothing imports them by a plain statement.
BY_NAME = frozenset(('rosidl_default_runtime', 'ros2launch', 'robot_state_publisher'))


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level modules that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split('.')[0]


def needed(files: Iterator[Path], own: frozenset[str]) -> dict[str, Path]:
    """Return the third-party modules of some files, each with one file that imports it."""
    found: dict[str, Path] = {}
    for path in files:
        for module in imported(path):
            if module not in sys.stdlib_module_names and module not in own:
                found.setdefault(module, path)
    return found


def declared(package: Path) -> dict[str, set[str]]:
    """Return the dependencies in package.xml by tag."""
    tags: dict[str, set[str]] = {}
    for element in ElementTree.parse(package / 'package.xml').getroot():
        if element.tag.endswith('depend'):
            tags.setdefault(element.tag, set()).add((element.text or '').strip())
    return tags


def check_package(package: Path, workspace: frozenset[str]) -> list[str]:
    """Return what is wrong with one package, a line each."""
    name = package.name
    tags = declared(package)
    runtime = set().union(*(tags.get(tag, set()) for tag in ('depend', 'exec_depend')))
    everything = set().union(*tags.values()) if tags else set()
    errors = []

    # Fixtures of one package's tests may serve another's.
    local = frozenset({name} | {path.stem for path in package.parent.glob('*/test/**/*.py')})
    code = needed(iter(sorted((package / name).rglob('*.py'))), frozenset({name}))
    test = needed(iter(sorted((package / 'test').rglob('*.py'))), local)
    setup_text = (package / 'setup.py').read_text() if (package / 'setup.py').is_file() else ''

    for modules, allowed, tag in ((code, runtime, 'exec_depend'),
                                  (test, everything, 'test_depend')):
        for module, path in sorted(modules.items()):
            module = PART_OF.get(module, module)
            where = path.relative_to(ROOT)
            if module in ROS_PACKAGES or module in workspace:
                key: str | None = module
            elif module in KEYS:
                key = KEYS[module]
            else:
                errors.append(f'{where}: imports {module}, which tools/package_lint.py does not '
                              'know; add its rosdep key there, or None')
                continue
            if key is None:
                distribution = DISTRIBUTIONS.get(module, module)
                if tag == 'exec_depend' and f"'{distribution}" not in setup_text:
                    errors.append(f'{where}: imports {module}, but install_requires in '
                                  f"{name}/setup.py has no '{distribution}'")
            elif key not in allowed:
                errors.append(f'{where}: imports {module}, but {name}/package.xml has no '
                              f'<{tag}>{key}</{tag}>')

    known = ROS_PACKAGES | workspace | BY_NAME | {key for key in KEYS.values() if key}
    if (package / 'setup.py').is_file():
        for key in sorted(everything - known):
            errors.append(f'{name}/package.xml: {key} is not a known rosdep key or ROS package')
    return errors + check_ament(package)


def check_ament(package: Path) -> list[str]:
    """Return what an ament_python package lacks."""
    name = package.name
    if not (package / 'setup.py').is_file():
        return []
    errors = [f'{name}: {path} is missing'
              for path in (f'resource/{name}', 'setup.cfg', f'{name}/__init__.py')
              if not (package / path).is_file()]
    config = package / 'setup.cfg'
    if config.is_file() and f'$base/lib/{name}' not in config.read_text():
        errors.append(f'{name}/setup.cfg: scripts do not go to $base/lib/{name}')
    root = ElementTree.parse(package / 'package.xml').getroot()
    if root.findtext('name') != name:
        errors.append(f'{name}/package.xml: the name is {root.findtext("name")}')
    if root.findtext('license') != 'Apache-2.0':
        errors.append(f'{name}/package.xml: the license is {root.findtext("license")}')
    if root.findtext('export/build_type') != 'ament_python':
        errors.append(f'{name}/package.xml: the build type is not ament_python')
    return errors


def main() -> int:
    """Check all packages of the workspace."""
    packages = [path.parent for path in sorted((ROOT / 'src').glob('*/package.xml'))]
    workspace = frozenset(path.name for path in packages)
    errors = [error for package in packages for error in check_package(package, workspace)]
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
