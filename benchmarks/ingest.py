# SPDX-License-Identifier: Apache-2.0
"""How fast do recorded episodes become arrays, against decoding their JPEG frames alone?

Records a store of dual-arm episodes (three cameras, joints, actions, chunks), then times, in turn
and several times: ingest (list, verify, read, join, audit, decode every frame, write the arrays,
index) over one process a core, and the peer: the same processes decoding the same JPEG frames and
nothing else. Features are a few pixels' means, so that both do the same vision work: none. Memory
is the largest resident set of any ingest process. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import get_context
import os
from pathlib import Path
import resource
import statistics
import tempfile
import time
from typing import Any

import cv2
import numpy as np

from lwd_core.episode import EpisodeBagReader
from lwd_core.episode.cdr import image_bytes
from lwd_core.episode.synthetic import Recipe, write_episode
from lwd_core.images import decode_jpeg
from lwd_core.observation import ObservationSpec
from lwd_core.priority import freeze_garbage
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_learner.conversion import convert_job, IngestSettings, Job
from lwd_learner.ingest import Ingest

TARGET = 1.3  # ingest over decoding alone, wall time
ROOT = Path(__file__).resolve().parents[1]


class Glance:
    """A trunk that costs nothing: what is timed is ingest, not a network."""

    def features(self, images: dict[str, Any], joints: Any) -> Any:
        """Return one pixel of each image."""
        return np.array([image[0, 0, 0] for image in images.values()], np.float32)


def robot_of(side: tuple[int, int]) -> RobotSpec:
    """Return the simulated robot with cameras of this size."""
    data = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml').to_dict()
    for camera in data['cameras']:
        camera['width'], camera['height'] = side
    return RobotSpec.from_dict(data)


def frames_of(side: tuple[int, int], count: int = 40) -> list[bytes]:
    """Return JPEG frames with the detail of a real scene: about 0.2 bytes a pixel."""
    rng = np.random.default_rng(0)
    width, height = side
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    found = []
    for number in range(count):
        noise = rng.normal(0, 4, (height, width, 3))
        image = np.clip(np.roll(scene, 3 * number, 1) + noise, 0, 255).astype(np.uint8)
        found.append(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return found


def record(store: Path, robot: RobotSpec, side: tuple[int, int], episodes: int,
           ticks: int) -> None:
    """Write the episodes."""
    jpegs = frames_of(side)
    for number in range(episodes):
        name = f'e{number:04}'
        write_episode(store / f'episodes/{robot.name}/2026-01-01' / name, robot, Recipe(
            id=name, ticks=ticks, seed=number,
            jpeg=lambda camera, tick, n=number: jpegs[
                (tick + n + 13 * robot.camera_names.index(camera)) % len(jpegs)]))


def _quiet() -> None:
    cv2.setNumThreads(1)
    freeze_garbage()  # as ingest's own workers do


def decode(folder: Path) -> int:
    """Decode every JPEG of an episode's bag, and nothing else; return how many."""
    reader = EpisodeBagReader(next(folder.glob('*.mcap')))
    count = 0
    for message in reader.raw():
        if reader.type_of(message).endswith('CompressedImage'):
            decode_jpeg(image_bytes(message.data))  # type: ignore[arg-type]
            count += 1
    return count


def _convert(job: tuple[Job, IngestSettings, Path]) -> int:
    one, settings, cache = job
    converted, arrays = convert_job(one, settings)
    if arrays is None:
        raise RuntimeError(converted.reason)
    arrays.save(cache)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(store: Path, robot: RobotSpec, workers: int, scratch: Path,
            repeats: int) -> dict[str, list[float]]:
    """Return the wall times of ingest and of its peer, taken in turn, warm."""
    folders = sorted(path.parent for path in store.glob('episodes/*/*/*/episode.json'))
    settings = IngestSettings(robot, ('place',), ObservationSpec.for_robot(robot, 'pixels'),
                              trunk=Glance())  # type: ignore[arg-type]
    jobs = [(Job(f'episodes/x/y/{folder.name}', str(folder), 'd'), settings,
             scratch / f'{folder.name}.safetensors') for folder in folders]
    times: dict[str, list[float]] = {'ingest': [], 'decode': [], 'rss_mb': []}
    with get_context('spawn').Pool(workers, _quiet) as pool:
        pool.map(decode, folders[:workers])
        pool.map(_convert, jobs[:workers])
        for _ in range(repeats):
            started = time.perf_counter()
            rss = pool.map(_convert, jobs, chunksize=1)
            middle = time.perf_counter()
            pool.map(decode, folders, chunksize=1)
            ended = time.perf_counter()
            times['ingest'].append(middle - started)
            times['decode'].append(ended - middle)
            times['rss_mb'].append(max(rss) / 1024)
    return times


def whole(store: Path, robot: RobotSpec, workers: int, scratch: Path) -> float:
    """Return the wall time of the real `Ingest.poll` on state, its processes' start included."""
    settings = IngestSettings(robot, ('place',), ObservationSpec.for_robot(robot, 'state'))
    started = time.perf_counter()
    ingest = Ingest(FolderStore(store), scratch / 'work', settings, workers=workers)
    count = sum(1 for _ in ingest.poll())
    ingest.close()
    if not count:
        raise RuntimeError('nothing was ingested')
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--episodes', type=int, default=8)
    parser.add_argument('--ticks', type=int, default=150)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--full', action='store_true', help='32 episodes, 320 x 240 px too')
    options = parser.parse_args()
    sides = [(96, 96), (320, 240), (640, 480)] if options.full else [(96, 96), (320, 240)]
    episodes = 32 if options.full else options.episodes
    begun, rows = time.perf_counter(), {}
    os.environ.setdefault('AMENT_PREFIX_PATH', '')
    for side in sides:
        with tempfile.TemporaryDirectory(prefix='lwd-ingest-') as folder:
            store, scratch = Path(folder) / 'store', Path(folder) / 'scratch'
            scratch.mkdir()
            robot = robot_of(side)
            record(store, robot, side, episodes, options.ticks)
            size = sum(path.stat().st_size for path in store.rglob('*.mcap')) / 1e6
            times = measure(store, robot, options.workers, scratch, options.repeats)
            polled = whole(store, robot, options.workers, scratch)
        frames = episodes * (options.ticks + 5) * len(robot.cameras)
        ratios = [a / b for a, b in zip(times['ingest'], times['decode'])]
        ingest, peer = (statistics.median(times[key]) for key in ('ingest', 'decode'))
        rows[f'{side[0]}x{side[1]}'] = {
            'frames_per_s': frames / ingest, 'mb_per_s': size / ingest,
            'decode_frames_per_s': frames / peer, 'ratio': statistics.median(ratios),
            'spread': [min(ratios), max(ratios)], 'rss_mb': max(times['rss_mb']),
            'state_only_episodes_per_s': episodes / polled}
        row = rows[f'{side[0]}x{side[1]}']
        print(f'{side[0]} x {side[1]} px, {episodes} episodes, {frames} frames, {size:.0f} MB, '
              f'{options.workers} processes: ingest {row["frames_per_s"]:.0f} frames/s, '
              f'{row["mb_per_s"]:.0f} MB/s; JPEG decode alone {row["decode_frames_per_s"]:.0f} '
              f'frames/s: {row["ratio"]:.2f} x ({row["spread"][0]:.2f} to {row["spread"][1]:.2f}),'
              f' largest process {row["rss_mb"]:.0f} MB')
    worst = max(row['ratio'] for row in rows.values())
    first = next(iter(rows.values()))
    print(json.dumps({
        'benchmark': 'ingest', 'value': first['frames_per_s'], 'unit': 'frames/s',
        'peer': 'JPEG decode alone, same processes', 'ratio': worst, 'target': TARGET,
        'met': worst <= TARGET, 'sizes': rows, 'workers': options.workers,
        'seconds': time.perf_counter() - begun}))


if __name__ == '__main__':
    main()
