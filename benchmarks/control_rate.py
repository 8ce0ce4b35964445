# SPDX-License-Identifier: Apache-2.0
"""Does the policy node keep its rate while everything else runs?

Three cameras stream at 30 Hz, joints at 100 Hz; the real policy node infers without a pause, the
real arbiter forwards, the real recorder records. Beside them, in the same run, a bare rclpy timer
of the same rate does nothing. Measured: how late each command was out after its tick (and each
call of the timer), the error of the period, missed ticks, CPU. Claim: p99 lateness under 1 ms and
below the timer's, no missed tick. --full runs 10 minutes. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from _rate.figures import (
    children,
    cpu_seconds,
    describe,
    draw,
    missed_by_timer,
    quantiles,
)
from _takeover.load import node, publish_policy
import numpy as np
import yaml

from lwd_bringup.paths import config_dir
from lwd_core.clock import period_ns
from lwd_core.robot import RobotSpec

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / 'results' / 'bench'
START_S = 600.0  # patience until the policy drives
SETTLE_S = 5.0
TARGET_MS = 1.0


def write_robot(folder: Path, rate: float) -> Path:
    """Write the simulated robot's file with this rate and real cameras."""
    data = yaml.safe_load((config_dir() / 'robots' / 'sim.yaml').read_text())
    data |= {'control_rate': rate, 'state_names': [],
             'mjcf': str((config_dir() / 'robots' / data['mjcf']).resolve())}
    for camera in data['cameras']:
        camera |= {'width': 640, 'height': 480, 'rate': 30.0}
    data['max_observation_age'] = {'joint_states': 1.0, 'camera': 1.0}
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(data))
    return path


def commands(folder: Path, robot_file: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command line of every process by its name."""
    store = folder / 'store'
    common: dict[str, Any] = {'robot_file': robot_file, 'robot': 'bench'}
    policy = node('_rate.timed_policy', 'bench', store=store, observation='pixels',
                  poll_period=0.2, execute_steps=2, lookahead=1, inference=options.inference,
                  priority=options.priority, scheduler=options.scheduler, **common)
    policy.insert(3, str(folder / 'policy.npy'))
    found = {
        'policy': policy,
        'arbiter': node('lwd_intervention.arbiter_node', 'bench', **common),
        'recorder': node('lwd_logger.recorder_node', 'bench', store=store, **common),
        'timer': [sys.executable, '-m', '_rate.bare_timer', str(folder / 'timer.npy'),
                  str(options.rate)],
        'driver': [sys.executable, '-m', '_rate.driver', str(robot_file)],
    }
    return found


def start(folder: Path, lines: dict[str, list[str]]) -> dict[str, subprocess.Popen[bytes]]:
    """Start them; what they say goes to a log in `folder`."""
    paths = filter(None, (str(HERE), os.environ.get('PYTHONPATH', '')))
    here = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    log = (folder / 'log').open('wb')
    return {name: subprocess.Popen(
        line, env=here, stderr=log, stdout=subprocess.PIPE if name == 'driver' else log)
        for name, line in lines.items()}


def wait_until_running(driver: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the driver says that the policy drives."""
    assert driver.stdout is not None
    ready, _, _ = select.select([driver.stdout], [], [], START_S)
    said = driver.stdout.readline() if ready else b''
    if said.strip() != b'running':
        sys.exit(f'the policy does not drive; the nodes said:\n{log.read_text()[-3000:]}')


def used(processes: dict[str, subprocess.Popen[bytes]]) -> dict[str, float]:
    """Return the CPU seconds of every process, the worker's apart."""
    found = {name: cpu_seconds(process.pid) for name, process in processes.items()}
    workers = children(processes['policy'].pid)
    return {**found, 'worker': sum(map(cpu_seconds, workers)) if workers else 0.0}


def end(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End all of them."""
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    for process in processes.values():
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure; return the figures."""
    robot_file = write_robot(folder, options.rate)
    publish_policy(folder / 'store', RobotSpec.from_yaml(robot_file))
    processes = start(folder, commands(folder, robot_file, options))
    try:
        wait_until_running(processes['driver'], folder / 'log')
        time.sleep(SETTLE_S)
        begin, before = time.time_ns(), used(processes)
        print(f'measuring for {options.seconds:g} s', file=sys.stderr, flush=True)
        time.sleep(options.seconds)
        after, finish = used(processes), time.time_ns()
    finally:
        end(processes)
    log = (folder / 'log').read_text(errors='replace')
    cpu = {name: round(100 * (after[name] - before[name]) / options.seconds, 1) for name in after}
    return {**figures(folder, begin, finish, period_ns(options.rate)), 'cpu_percent': cpu,
            'said': [line for line in log.splitlines() if 'control tick' in line],
            'cadence': log[log.rfind('cadence of'):] if 'cadence of' in log else ''}


def figures(folder: Path, begin: int, finish: int, period: int) -> dict[str, Any]:
    """Read what policy and timer noted between `begin` and `finish` [ns]."""
    ticks = np.load(folder / 'policy.npy')
    ticks = ticks[(ticks[:, 0] >= begin) & (ticks[:, 0] < finish)]
    calls = np.load(folder / 'timer.npy')
    calls = calls[(calls[:, 0] >= begin) & (calls[:, 0] < finish)]
    calls, timer_late = calls[:, 0], np.maximum(calls[:, 1], 0) / 1e9
    if len(ticks) < 10 or len(calls) < 10:
        sys.exit(f'only {len(ticks)} ticks and {len(calls)} calls: {(folder / "log").read_text()}')
    answered = ticks[ticks[:, 2] > 0]
    late = (answered[:, 2] - answered[:, 0]) / 1e9
    ready = late[answered[:, 3] > 0]
    due = int((ticks[-1, 0] - ticks[0, 0]) // period) + 1
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw({'policy node, command out': late, 'bare rclpy timer, idle': timer_late},
         RESULTS / 'control_rate.png', f'{1e9 / period:g} Hz beside cameras, inference, recorder')
    return {
        'policy': {**describe(answered[:, 2], late, period),
                   'woken_ms': quantiles((ticks[:, 1] - ticks[:, 0]) / 1e9),
                   'with_row_ms': quantiles(ready), 'with_row': len(ready),
                   'ticks': due, 'missed': due - len(ticks), 'starved': len(ticks) - len(answered)},
        'timer': {**describe(calls, timer_late, period), 'calls': len(calls),
                  'missed': missed_by_timer(calls, period)},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--full', action='store_true', help='10 minutes')
    parser.add_argument('--rate', type=float, default=50.0, help='control rate [Hz]')
    parser.add_argument('--seconds', type=float, default=0.0, help='how long to measure')
    parser.add_argument('--inference', choices=('process', 'inline'), default='process')
    parser.add_argument('--priority', choices=('raised', 'normal'), default='raised')
    parser.add_argument('--scheduler', default='synchronous', help='as the policy parameter')
    options = parser.parse_args()
    options.seconds = options.seconds or (600.0 if options.full else 90.0)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.setdefault('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))  # beside others'
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the processes are ended too
    started, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = run(options, Path(folder))
    policy, timer = found['policy'], found['timer']
    print(found['cadence'])
    for name, values in (('policy', policy), ('timer', timer)):
        print(f'{name:7}' + ', '.join(f'{key} {value}' for key, value in values.items()))
    print(f'CPU percent of a core: {found["cpu_percent"]}; load before {load:.1f}; '
          f'{"; ".join(found["said"])}')
    value, peer = policy['lateness_ms']['p99'], timer['lateness_ms']['p99']
    summary = {
        'benchmark': 'control_rate', 'value': value, 'unit': 'ms, p99 lateness of commands',
        'spread': [policy['lateness_ms']['p50'], policy['lateness_ms']['max']],
        'peer': 'bare rclpy timer, idle', 'peer_value': peer,
        'ratio': round(value / max(peer, 1e-6), 4), 'target': TARGET_MS,
        'met': bool(value < TARGET_MS and value < peer and not policy['missed']
                    and not policy['starved']),
        'rate': options.rate, 'missed': policy['missed'], 'starved': policy['starved'],
        'load_before': round(load, 1), 'seconds': round(time.perf_counter() - started, 1)}
    partial = RESULTS / 'control_rate.json.partial'
    partial.write_text(json.dumps({**summary, **found}, indent=1))
    partial.replace(RESULTS / 'control_rate.json')
    print(json.dumps(summary))


if __name__ == '__main__':
    main()
