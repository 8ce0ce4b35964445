# SPDX-License-Identifier: Apache-2.0
"""Everything that is drawn of an episode's values, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lwd_bringup.paths import config_dir
from lwd_core.episode import EpisodeBagReader, EpisodeMeta, read_episode
from lwd_core.episode.bag import EpisodeBag, RawFrame
from lwd_core.images import encode_jpeg
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec
from lwd_learner.config import LearnerConfig
from lwd_learner.convert import convert
from lwd_learner.episodes import SOURCE_HUMAN, SOURCE_POLICY
from lwd_learner.trunk import make_trunk
from lwd_learner.value import episode_values, load_agent

FRAMES = 10


@dataclass
class ValueView:
    """An episode of T ticks; times in s since its first tick."""

    meta: EpisodeMeta
    time: np.ndarray  # [T]
    trace: dict[str, np.ndarray]  # as lwd_learner.value.episode_values
    human: list[tuple[float, float, str]]  # when a person drove: start, end, why
    chunks: list[float]  # when the policy began a new chunk
    camera: str = ''
    frames: list[tuple[float, bytes]] = field(default_factory=list)  # JPEG


def look(folder: Path, learner: Path, config_file: Path | None, robot_file: str = '',
         camera: str = '') -> ValueView:
    """Read an episode and ask the critic saved in `learner` about each of its ticks."""
    config = LearnerConfig.from_yaml(config_file)
    agent = _agent(learner, config, config_file)
    meta = EpisodeMeta.read(folder)
    robot_path = robot_file or str(config_dir() / 'robots' / 'sim.yaml')
    robot = (RobotSpec.from_yaml(robot_path) if robot_file or not meta.robot_spec
             else RobotSpec.from_dict(meta.robot_spec, str(folder)))
    mode = 'pixels' if agent.acting.config().get('feature_dim') else 'state'
    data = read_episode(folder, robot, ObservationSpec.for_robot(robot, mode),
                        require_outcome=False)
    arrays = convert(data, '', config.replay, config.instruction_dim,
                     make_trunk(mode, robot_path), online_since=None)
    trace = episode_values(agent, arrays, config)
    time = (data.ticks_ns - data.ticks_ns[0]) * 1e-9
    shown, frames = _frames(folder, meta, robot, data.ticks_ns, camera)
    return ValueView(meta, time, trace, human_spans(data), chunk_starts(data), shown, frames)


def _agent(learner: Path, config: LearnerConfig, config_file: Path | None) -> Any:
    try:
        return load_agent(learner, config)
    except (RuntimeError, KeyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f'the critic in {learner} does not fit '
                         f"{config_file or 'the default configuration'} ({first}): give --config "
                         'the file that the learner ran with') from error


def human_spans(data: Any) -> list[tuple[float, float, str]]:
    """Return when a person drove, s, and the reason that was noted."""
    driven = np.concatenate([[0], data.source == SOURCE_HUMAN, [0]]).astype(int)
    period = np.median(np.diff(data.ticks_ns)) if len(data.ticks_ns) > 1 else 0
    spans = []
    edges = np.diff(driven)
    for start, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)):
        begin, end = int(data.ticks_ns[start]), int(data.ticks_ns[stop - 1] + period)
        reasons = [str(one.get('reason', '')) for one in data.meta.interventions
                   if one.get('start_ns', 0) <= end and (one.get('end_ns') or end) >= begin]
        origin = int(data.ticks_ns[0])
        spans.append(((begin - origin) * 1e-9, (end - origin) * 1e-9,
                      '; '.join(filter(None, reasons))))
    return spans


def chunk_starts(data: Any) -> list[float]:
    """Return when the policy began to execute another chunk, s."""
    acting = data.source == SOURCE_POLICY
    new = acting & np.concatenate([[True], np.diff(data.chunk_id) != 0])
    return [float(t) for t in (data.ticks_ns[new] - data.ticks_ns[0]) * 1e-9]


def _frames(folder: Path, meta: EpisodeMeta, robot: RobotSpec, ticks: np.ndarray, camera: str
            ) -> tuple[str, list[tuple[float, bytes]]]:
    """Return (camera, frames) evenly over the episode; the first camera with images by default."""
    names = [one.name for one in robot.cameras]
    if camera and camera not in names:
        raise ValueError(f"--camera: robot has no camera '{camera}'; it has {', '.join(names)}")
    bag = EpisodeBag(EpisodeBagReader(folder / str(meta.bag['file'])), meta, robot)
    chosen = next((name for name in ([camera] if camera else names) if bag.frames(name)), '')
    if not chosen:
        return '', []
    images = sorted(bag.frames(chosen), key=lambda pair: pair[0])
    stamps = np.array([stamp for stamp, _ in images])
    shown = ticks[np.unique(np.linspace(0, len(ticks) - 1, FRAMES).round().astype(int))]
    newest = np.searchsorted(stamps, shown, 'right') - 1  # not later than the tick
    return chosen, [(float(tick - ticks[0]) * 1e-9, _jpeg(images[index][1]))
                    for tick, index in zip(shown, newest) if index >= 0]


def _jpeg(frame: memoryview | RawFrame) -> bytes:
    return encode_jpeg(frame()) if isinstance(frame, RawFrame) else bytes(frame)
