# SPDX-License-Identifier: Apache-2.0
"""How long from a person's button to the person's command at the driver?

Starts the real arbiter on wall time beside a driver in a process of its own. A person sends a
command at every tick and at random moments requests HUMAN; the stopwatch runs from the request to
the arrival of the first command of that person at the driver. Driver and person are the stopwatch:
they have real-time priority where the system permits it, as the arbiter has; the load has none.
Limit: one tick and 5 ms, at p99. Counts policy commands that arrive at the driver after the switch.
Default: a scripted policy and a busy process per core. `--full`: 500 takeovers beside the real
policy node that sees with three cameras and plans at every second tick, and the recorder writing
all of it to a bag.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import threading
import time

from _takeover.driver import NAMESPACE
from _takeover.load import as_every_process, burn, node, publish_policy
from _takeover.person import Person, take_over, wait
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rich.progress import Progress
import yaml

from lwd_bringup.paths import config_dir
from lwd_core.priority import raise_process
from lwd_core.robot import RobotSpec
from lwd_msgs.msg import EpisodeState, ExecutedAction, PolicyStatus

MARGIN = 5e-3  # s beyond one tick


def main() -> None:
    """Measure and print."""
    options = arguments()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', '57')
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='lwd_takeover_') as folder:
        latencies, waits, strays = measure(options, Path(folder))
    report(options, latencies, waits, strays, time.monotonic() - began)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--full', action='store_true', help='500 takeovers under the real load')
    parser.add_argument('--takeovers', type=int, default=0, help='default 200; 500 with --full')
    parser.add_argument('--rate', type=float, default=25.0, help='control rate [Hz]')
    parser.add_argument('--load', type=int, default=-1,
                        help='busy processes; default: one a core, none with --full')
    options = parser.parse_args()
    options.takeovers = options.takeovers or (500 if options.full else 200)
    if options.load < 0:
        options.load = 0 if options.full else os.cpu_count() or 1
    return options


def measure(options: argparse.Namespace, folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the latencies [s], each one's wait for the next tick [s], and the stray commands."""
    robot_file = write_robot(options, folder)
    robot = RobotSpec.from_yaml(robot_file)
    rclpy.init()
    person = Person(robot, NAMESPACE, plays_policy=not options.full)
    executor = SingleThreadedExecutor()
    executor.add_node(person)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    print(f'stopwatch: {raise_process()}')
    processes = start(options, folder, robot_file, robot)
    try:
        prepare(person, options)
        processes += burn(options.load)
        moments = take_all(person, options)
        person.phase(EpisodeState.IDLE)
        time.sleep(0.5)
    finally:
        end(processes)
        person.ticks.stop()
        rclpy.try_shutdown()
        thread.join()
    arrivals = np.load(folder / 'arrivals.npy')
    return judge(moments, arrivals, dict(person.executed), robot.period_ns)


def write_robot(options: argparse.Namespace, folder: Path) -> str:
    """Write the simulated robot's file at the wanted rate; without cameras unless they count."""
    data = yaml.safe_load((config_dir() / 'robots' / 'sim.yaml').read_text())
    data |= {'control_rate': options.rate, 'state_names': [],
             'mjcf': str((config_dir() / 'robots' / data['mjcf']).resolve())}
    # A driver that is kept from its own tick is not what is measured here.
    data['max_observation_age'] = {'joint_states': 1.0, 'camera': 1.0}
    if not options.full:
        data['cameras'] = []
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(data))
    return str(path)


def start(options: argparse.Namespace, folder: Path, robot_file: str,
          robot: RobotSpec) -> list[subprocess.Popen[bytes]]:
    """Start driver and arbiter; with --full also recorder and policy."""
    out = str(folder / 'arrivals.npy')
    commands = [[sys.executable, '-m', '_takeover.driver', robot_file, out],
                node('lwd_intervention.arbiter_node', NAMESPACE, robot_file=robot_file)]
    if options.full:
        store = folder / 'store'
        publish_policy(store, robot)
        commands += [
            node('lwd_logger.recorder_node', NAMESPACE, robot_file=robot_file, robot=NAMESPACE,
                 store=store),
            node('lwd_policy_node.policy_node', NAMESPACE, robot_file=robot_file, store=store,
                 observation='pixels', execute_steps=2, lookahead=1)]
    log = (folder / 'log').open('wb')
    here = {**os.environ, 'PYTHONPATH': os.pathsep.join(
        filter(None, (str(Path(__file__).parent), os.environ.get('PYTHONPATH', ''))))}
    return [subprocess.Popen(command, stderr=log, stdout=log, env=here, preexec_fn=as_every_process)
            for command in commands]


def prepare(person: Person, options: argparse.Namespace) -> None:
    """Wait for everybody, then start the episode."""
    wait(person.request.service_is_ready, 'the arbiter', 120.0)
    wait(lambda: person.mode.requested_by != '', 'control_mode', 120.0)
    wait(lambda: person.policy_state in (PolicyStatus.READY, PolicyStatus.ACTING),
         'a policy that is ready', 120.0)
    person.phase(EpisodeState.READY)
    time.sleep(2.0 if options.full else 0.5)
    person.phase(EpisodeState.RUNNING)


def take_all(person: Person, options: argparse.Namespace) -> list[tuple[int, int]]:
    """Take over as often as wanted, with a bar."""
    with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task('takeovers', total=options.takeovers)
        return take_over(person, options.takeovers, options.rate,
                         lambda done: progress.update(bar, completed=done))


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask all to end and wait for it."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()


def judge(moments: list[tuple[int, int]], arrivals: np.ndarray, sources: dict[int, int],
          period: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Join the driver's arrivals with what executed_action says of their ticks."""
    kinds = np.array([sources.get(int(stamp), ExecutedAction.SOURCE_HOLD)
                      for stamp in arrivals[:, 1]])
    latencies, waits, strays = [], [], 0
    offset = time.time_ns() - time.monotonic_ns()  # ticks are on the system clock
    for asked, returned in moments:
        inside = (arrivals[:, 0] > asked) & (arrivals[:, 0] < returned)
        human = arrivals[inside & (kinds == ExecutedAction.SOURCE_HUMAN), 0]
        # None in time: the arbiter held, or the machine slept. At least as long as was waited.
        first = human[0] if len(human) else returned
        latencies.append((first - asked) / 1e9)
        waits.append((period - (asked + offset) % period) / 1e9)
        after = inside & (arrivals[:, 0] > first)
        strays += int((kinds[after] == ExecutedAction.SOURCE_POLICY).sum())
    return np.array(latencies), np.array(waits), strays


def report(options: argparse.Namespace, latencies: np.ndarray, waits: np.ndarray, strays: int,
           seconds: float) -> None:
    """Print for people, then one JSON object."""
    limit = 1e3 * (1 / options.rate + MARGIN)
    p50, p99, most = np.percentile(latencies, (50, 99, 100)) * 1e3
    beyond = np.percentile(latencies - waits, (50, 90, 99)) * 1e3
    beside = 'policy, cameras and recorder' if options.full else f'{options.load} busy processes'
    print(f'{len(latencies)} takeovers at {options.rate:g} Hz beside {beside}, '
          f'load average {os.getloadavg()[0]:.1f}')
    print(f'  button to driver       p50 {p50:5.1f}  p99 {p99:5.1f}  max {most:5.1f} ms; '
          f'limit at p99 {limit:.0f} ms')
    print(f'  beyond the next tick   p50 {beyond[0]:5.1f}  p90 {beyond[1]:5.1f}  '
          f'p99 {beyond[2]:5.1f} ms  (a button just before a tick counts for the one after)')
    print(f'  policy commands at the driver after the switch: {strays}')
    print(json.dumps({
        'benchmark': 'takeover', 'value': round(p99, 2), 'unit': 'ms p99, button to driver',
        'peer': 'one tick + 5 ms', 'ratio': round(p99 / limit, 3), 'target': limit,
        'met': bool(p99 <= limit and strays == 0), 'seconds': round(seconds, 1),
        'takeovers': len(latencies), 'rate': options.rate, 'full': options.full,
        'load': options.load, 'load_average': round(os.getloadavg()[0], 2),
        'p50_ms': round(p50, 2), 'p99_ms': round(p99, 2), 'max_ms': round(most, 2),
        'beyond_tick_p50_ms': round(beyond[0], 2), 'beyond_tick_p99_ms': round(beyond[2], 2),
        'policy_commands_after_the_switch': strays}))


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass


if __name__ == '__main__':
    main()
