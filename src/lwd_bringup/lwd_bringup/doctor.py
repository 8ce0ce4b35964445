# SPDX-License-Identifier: Apache-2.0
"""The checks of `lwd doctor`. Each is one function; what may hang or crash runs apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
import os
from pathlib import Path
import shutil
import subprocess
import sys

PYTHONS = ((3, 10), (3, 13))
DISK_FAIL, DISK_WARN = 1.0, 5.0  # GB; a demo writes about 1 GB
SLOW_S = 60.0

_DDS = '''
import rclpy, time
from rclpy.node import Node
from lwd_msgs.msg import ControlMode
rclpy.init()
node, got = Node('lwd_doctor'), []
node.create_subscription(ControlMode, 'lwd_doctor', got.append, 10)
out = node.create_publisher(ControlMode, 'lwd_doctor', 10)
deadline = time.monotonic() + 10
sent = 0.0
while not got and time.monotonic() < deadline:
    sent = time.monotonic()
    out.publish(ControlMode(reason='hello'))
    rclpy.spin_once(node, timeout_sec=0.2)
assert got and got[0].reason == 'hello', 'no message came back in 10 s'
took = 1e3 * (time.monotonic() - sent)
print(f'{took:.1f} ms through {rclpy.get_rmw_implementation_identifier()}')
'''
_RENDER = '''
import mujoco, time
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size=".1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 96, 96) as renderer:
    renderer.update_scene(data)
    start = time.monotonic()
    image = renderer.render()
assert image.any(), 'the image is black'
print(f'96 x 96 in {1e3 * (time.monotonic() - start):.1f} ms with {mujoco.GLContext.__module__}')
'''


@dataclass(frozen=True)
class Check:
    """The result of a check: verdict 'ok', 'warn' or 'fail', and what mends it."""

    name: str
    verdict: str
    detail: str
    mend: str = ''


def run_checks(store: str) -> Iterator[Check]:
    """Yield one result per check; a check that raises is a failed one."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ('python', _python), ('ros', _ros), ('interfaces', _interfaces), ('packages', _packages),
        ('versions', _versions), ('config', _config), ('messages', _messages),
        ('rendering', _rendering), ('cores', _cores),
        ('disk', lambda: _disk('.' if '://' in store else store)),
    ]
    if '://' in store:
        checks.append(('store', lambda: _bucket(store)))
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # a broken machine breaks checks in unforeseen ways
            yield Check(name, 'fail', f'{type(error).__name__}: {error}', 'make setup')


def _python() -> Check:
    version, low, high = sys.version_info[:2], PYTHONS[0], PYTHONS[1]
    text = '.'.join(map(str, sys.version_info[:3]))
    good = low <= version <= high
    return Check('python', 'ok' if good else 'fail', f'{text} at {sys.executable}',
                 f'install Python {low[0]}.{low[1]} to {high[0]}.{high[1]} and run make setup')


def _ros() -> Check:
    if find_spec('rclpy') is None:
        return Check('ros', 'fail', 'rclpy is not importable',
                     'make setup, or source /opt/ros/<distro>/setup.bash')
    distro = os.environ.get('ROS_DISTRO', 'jazzy wheels in the virtual environment')
    return Check('ros', 'ok', f"{distro}, domain {os.environ.get('ROS_DOMAIN_ID', '0')}")


def _interfaces() -> Check:
    if find_spec('lwd_msgs') is None:
        return Check('interfaces', 'fail', 'lwd_msgs is not importable',
                     'make setup, then . install/setup.bash')
    return Check('interfaces', 'ok', f"lwd_msgs from {Path(find_spec('lwd_msgs').origin).parent}")


def _packages() -> Check:
    names = ('lwd_core', 'lwd_policy_node', 'lwd_intervention', 'lwd_logger', 'lwd_learner',
             'lwd_sim', 'lwd_bringup')
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        return Check('packages', 'fail', f"missing {', '.join(missing)}",
                     'make setup, then . install/setup.bash')
    return Check('packages', 'ok', f'all {len(names)} of the workspace')


def _versions() -> Check:
    found, missing = [], []
    for name in ('torch', 'numpy', 'mujoco', 'mcap', 'rosbags'):
        try:
            found.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check('versions', 'fail', f"missing {', '.join(missing)}", 'make setup')
    return Check('versions', 'ok', ', '.join(found))


def _config() -> Check:
    from lwd_bringup.paths import config_dir
    from lwd_core.robot import RobotSpec
    from lwd_core.task import load_tasks
    folder = config_dir()
    robots = [RobotSpec.from_yaml(path).name for path in sorted(folder.glob('robots/*.yaml'))]
    tasks = [name for path in sorted(folder.glob('tasks/*.yaml')) for name in load_tasks(path)]
    return Check('config', 'ok', f"robots {', '.join(robots)}; tasks {', '.join(tasks)}")


def _messages() -> Check:
    return _apart('messages', _DDS, 'allow UDP and shared memory on this machine: check the '
                  'firewall and that /dev/shm is writable')


def _rendering() -> Check:
    return _apart('rendering', _RENDER, 'sudo apt-get install libegl1 libgl1 libegl-mesa0 '
                  'libgl1-mesa-dri (only the cameras of the simulated robot need it)', 'warn')


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    return Check('cores', 'ok' if cores >= 2 else 'warn', f'{cores}',
                 'the demonstration is sized for 2 cores; it will be slow')


def _disk(store: str) -> Check:
    path = Path(store).expanduser().resolve()
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free / 1e9
    verdict = 'fail' if free < DISK_FAIL else 'warn' if free < DISK_WARN else 'ok'
    if not os.access(path, os.W_OK):
        return Check('disk', 'fail', f'{path} is not writable', 'set LWD_STORE to another folder')
    return Check('disk', verdict, f'{free:.1f} GB free at {path}',
                 f'free {DISK_WARN:.0f} GB or set LWD_STORE to another disk')


def _bucket(store: str) -> Check:
    """Ask the bucket for what lies at its top; the error says what is missing."""
    from lwd_core.store import open_store, StoreError  # a broken machine must get this far
    try:
        names = open_store(store).children()
    except StoreError as error:
        return Check('store', 'fail', str(error), 'set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, '
                     'AWS_REGION and AWS_ENDPOINT_URL; see docs/recording.md')
    return Check('store', 'ok', f'{store} answers: {", ".join(names) or "empty"}', '')


def _apart(name: str, code: str, mend: str, on_failure: str = 'fail') -> Check:
    from lwd_bringup.runner.start import ros_environment
    try:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                              timeout=SLOW_S, env={**os.environ, **ros_environment()})
    except subprocess.TimeoutExpired:
        return Check(name, on_failure, f'no answer in {SLOW_S:.0f} s', mend)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ['']
    return Check(name, 'ok' if done.returncode == 0 else on_failure, lines[-1], mend)
