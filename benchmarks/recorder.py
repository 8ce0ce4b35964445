# SPDX-License-Identifier: Apache-2.0
"""What does it cost to record a robot, and how much can be recorded without loss?

The real recorder records over DDS, first a dual-arm robot (3 JPEG cameras at 30 Hz, joints,
commands and actions at 100 Hz), then raw 640x480 cameras, more and more until messages are lost.
What was published is compared with what is in the bag; the processor time is the recorder's own.
Beside it, without DDS, the path from a received message to the disk is compared with the `mcap`
library's writer alone, its limit; and `ros2 bag record` records the same where it is installed.
Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from _recorder.limit import Limit
from _recorder.limit import measure as measure_limit
import psutil
import yaml

from lwd_core.episode import list_episodes, read_meta
from lwd_core.store import FolderStore

ROOT = Path(__file__).resolve().parents[1]
CPU_TARGET = 0.15  # of a core, dual-arm load
RAW_TARGET = 100.0  # MB/s without loss
RAW_RATES = (30.0, 45.0, 60.0)  # Hz of 4 cameras: 111, 166, 221 MB/s
RAW_CAMERAS = 4


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--full', action='store_true', help='longer, and several times')
    parser.add_argument('--folder', type=Path, help='where to write (default: a temporary folder)')
    parser.add_argument('--only', choices=('disk', 'dual', 'raw'), help='one part')
    options = parser.parse_args()
    began = time.monotonic()
    seconds = 30.0 if options.full else 8.0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        parts = (options.only,) if options.only else ('disk', 'dual', 'raw')
        limits = measure_limit(Path(folder), 5 if options.full else 3) if 'disk' in parts else []
        _print_limits(limits)
        loads = _dual(Path(folder), seconds, options.full) if 'dual' in parts else []
        loads += _raw(Path(folder), seconds) if 'raw' in parts else []
    report(limits, loads, time.monotonic() - began)


def _dual(folder: Path, seconds: float, full: bool) -> list[dict[str, Any]]:
    """Record the dual-arm load, and have rosbag2 record it."""
    found = []
    for again in range(3 if full else 1):
        found.append(record(folder / f'dual{again}', 'dual arm', seconds,
                            ['--cameras', '3', '--rate', '30']))
    if shutil.which('ros2'):
        found.append(record(folder / 'rosbag2', 'dual arm, ros2 bag record', seconds,
                            ['--cameras', '3', '--rate', '30', '--no-status'], peer=True))
    else:
        print('ros2 bag record: not installed, not compared')
    return found


def _raw(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Record raw cameras, faster and faster until something is lost."""
    found = []
    for rate in RAW_RATES:
        one = record(folder / f'raw{rate:g}', f'{RAW_CAMERAS} raw cameras at {rate:g} Hz', seconds,
                     ['--raw', '--cameras', str(RAW_CAMERAS), '--rate', str(rate)], raw=True)
        found.append(one)
        if one['lost']:
            break
    return found


def record(folder: Path, name: str, seconds: float, arguments: list[str], *, raw: bool = False,
           peer: bool = False) -> dict[str, Any]:
    """Record one load; return its figures."""
    folder.mkdir()
    environment = {**os.environ, 'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID', '68'),
                   'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'PYTHONPATH': os.pathsep.join(
                       filter(None, (str(ROOT / 'benchmarks'), os.environ.get('PYTHONPATH', ''))))}
    if raw:
        environment['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(ROOT / 'config/dds/large_messages.xml')
    cameras = int(arguments[arguments.index('--cameras') + 1])
    recorder = subprocess.Popen(
        _rosbag2(folder) if peer else _ours(folder, cameras, raw), env=environment,
        stdout=open(folder / 'log', 'wb'), stderr=subprocess.STDOUT)
    load = subprocess.Popen(
        [sys.executable, '-m', '_recorder.load', *arguments, '--seconds', str(seconds)],
        env=environment, stdout=subprocess.PIPE, text=True)
    try:
        _expect(load, 'begin', folder)
        before, began = _cpu(recorder), time.monotonic()
        _expect(load, 'end', folder)
        cpu = (_cpu(recorder) - before) / (time.monotonic() - began)
        result = json.loads(_line(load, folder))
        load.wait(30.0)
    finally:
        load.kill()
        recorder.send_signal(signal.SIGINT)
        recorder.wait(30.0)
    counts = _rosbag2_counts(folder) if peer else _counts(folder)
    by_topic = {topic: count - counts.get(f'/bench/{topic}', 0)
                for topic, count in result['sent'].items()
                if count > counts.get(f'/bench/{topic}', 0)}
    lost = sum(by_topic.values())
    figures = {'name': name, 'MB/s': result['MB/s'], 'messages/s': result['messages/s'],
               'cpu': cpu, 'lost': lost, 'sent': sum(result['sent'].values()),
               'load late [ms]': result['latest'] * 1e3}
    print(f'{name:28} {figures["MB/s"]:6.1f} MB/s {figures["messages/s"]:6.0f} messages/s, lost '
          f'{lost} of {figures["sent"]}, {100 * cpu:5.1f} % of a core (load up to '
          f'{figures["load late [ms]"]:.0f} ms late, load average {os.getloadavg()[0]:.1f})'
          + (f'; lost by topic {by_topic}, known to the recorder {result["known lost"]}'
             if lost else ''), flush=True)
    return figures


def _ours(folder: Path, cameras: int, raw: bool) -> list[str]:
    robot = yaml.safe_load((ROOT / 'config/robots/sim.yaml').read_text())
    names = [f'camera{index}' for index in range(cameras)]
    robot['cameras'] = [{'name': name, 'width': 640, 'height': 480, 'rate': 30.0}
                        for name in names]
    (folder / 'robot.yaml').write_text(yaml.safe_dump(robot))
    parameters = [f'robot_file:={folder}/robot.yaml', f'store:={folder}/store',
                  'disk_warn_mib:=64', 'disk_stop_mib:=64']
    if raw:
        parameters += [f'raw_cameras:=[{", ".join(names)}]', 'queue_mib:=512']
    return [sys.executable, '-m', 'lwd_logger.recorder_node', '--ros-args', '-r', '__ns:=/bench',
            *(part for parameter in parameters for part in ('-p', parameter))]


def _rosbag2(folder: Path) -> list[str]:
    return ['ros2', 'bag', 'record', '-s', 'mcap', '-o', str(folder / 'bag'), '--all-topics']


def _counts(folder: Path) -> dict[str, int]:
    store = FolderStore(folder / 'store')
    meta = read_meta(store, list_episodes(store)[0])
    return {topic: int(record['count']) for topic, record in meta.topics.items()}


def _rosbag2_counts(folder: Path) -> dict[str, int]:
    info = yaml.safe_load((folder / 'bag/metadata.yaml').read_text())
    return {entry['topic_metadata']['name']: entry['message_count'] for entry in
            info['rosbag2_bagfile_information']['topics_with_message_count']}


def _cpu(process: subprocess.Popen[Any]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def _expect(process: subprocess.Popen[str], word: str, folder: Path) -> None:
    if (line := _line(process, folder)) != word:
        sys.exit(f'the load said {line!r}, not {word!r}; log: {(folder / "log").read_text()}')


def _line(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        sys.exit(f'the load ended; the recorder said: {(folder / "log").read_text()}')
    return line


def _print_limits(limits: list[Limit]) -> None:
    for limit in limits:
        low, high = min(limit.ratios), max(limit.ratios)
        print(f'to the disk, {limit.name:14} {limit.ours:7.1f} MB/s {limit.our_rate:8.0f} '
              f'messages/s; mcap alone {limit.peer:7.1f} MB/s; ratio '
              f'{statistics.median(limit.ratios):.2f} [{low:.2f}, {high:.2f}]', flush=True)


def report(limits: list[Limit], loads: list[dict[str, Any]], seconds: float) -> None:
    """Print the JSON line."""
    dual = [load for load in loads if load['name'] == 'dual arm']
    raw = [load for load in loads if 'raw' in load['name']]
    clean = max((load['MB/s'] for load in raw if not load['lost']), default=0.0)
    cpu = statistics.median(load['cpu'] for load in dual) if dual else float('inf')
    ratio = next((round(statistics.median(limit.ratios), 3) for limit in limits
                  if limit.name == 'raw images'), None)
    met = bool(dual) and cpu <= CPU_TARGET and clean >= RAW_TARGET and not any(
        load['lost'] for load in dual)
    print(json.dumps({
        'benchmark': 'recorder', 'value': round(clean, 1), 'unit': 'MB/s raw without loss',
        'peer': 'mcap writer alone, to the disk',
        'ratio': ratio, 'target': RAW_TARGET, 'met': met,
        'seconds': round(seconds, 1), 'dual_arm_cpu': None if not dual else round(cpu, 3),
        'dual_arm_cpu_target': CPU_TARGET, 'load_average': round(os.getloadavg()[0], 2),
        'to_disk': {limit.name: round(limit.ours, 1) for limit in limits},
        'loads': [{key: round(value, 3) if isinstance(value, float) else value
                   for key, value in load.items()} for load in loads]}))


if __name__ == '__main__':
    main()
