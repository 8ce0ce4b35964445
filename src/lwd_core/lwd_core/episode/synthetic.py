# SPDX-License-Identifier: Apache-2.0
"""Episodes made without a robot or ROS, as the recorder would write them: for tests, benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lwd_core import topics
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.episode.writer import EpisodeBagWriter
from lwd_core.robot import RobotSpec

_SOURCE_POLICY, _SOURCE_HUMAN = 1, 2
_PHASE_IDLE, _PHASE_READY, _PHASE_RUNNING, _PHASE_LABELLING = 0, 2, 3, 4
START_NS = 1_000_000_000  # of tick 0, unless the recipe says otherwise


@dataclass(frozen=True)
class Recipe:
    """What the episode is like. Ticks are indices from 0; READY lasts `lead` ticks before."""

    id: str = 'ep-0001'
    task: str = 'place'
    instruction: str = 'put the item on the shelf'
    outcome: str = 'success'
    ticks: int = 150
    lead: int = 5
    human: tuple[int, int] | None = None  # ticks [from, to) driven by a person
    gap: tuple[int, int] | None = None  # ticks [from, to) nothing was executed
    chunk: int = 8  # ticks between chunks
    jpeg: Callable[[str, int], bytes] | None = None  # camera, tick -> image
    seed: int = 0
    start_ns: int = START_NS  # stamp of tick 0
    checkpoint: str = 'c' * 64
    recorded_at: str = '2026-01-01T00:00:00+00:00'
    edit: Callable[[str, Any], Any] | None = None  # (topic, message) -> message or None to drop it


class Messages:
    """Builds and serialises messages by type name, without ROS."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._store = definitions.typestore

    def make(self, type_name: str, **fields: Any) -> Any:
        """Return a message with `fields` set and zeros elsewhere."""
        self.definitions.get(type_name)
        values = {name: fields.pop(name) if name in fields else self._zero(kind)
                  for name, kind in self._store.fielddefs[type_name][1]}
        if fields:
            raise TypeError(f'{type_name} has no {sorted(fields)}')
        return self._store.types[type_name](**values)

    def header(self, stamp_ns: int, frame_id: str = '') -> Any:
        """Return a std_msgs/Header."""
        return self.make('std_msgs/msg/Header', stamp=self.time(stamp_ns), frame_id=frame_id)

    def time(self, stamp_ns: int) -> Any:
        """Return a builtin_interfaces/Time."""
        return self.make('builtin_interfaces/msg/Time', sec=stamp_ns // 10**9,
                         nanosec=stamp_ns % 10**9)

    def serialize(self, message: Any) -> bytes:
        """Return the message as CDR."""
        return bytes(self._store.serialize_cdr(message, message.__msgtype__))

    def _zero(self, kind: tuple[Any, Any]) -> Any:
        node, what = int(kind[0]), kind[1]
        if node == 1:  # base type: (name, size limit)
            return '' if what[0] == 'string' else False if what[0] == 'bool' else 0
        if node == 2:  # another message
            return self.make(what)
        base = what[0]
        length = what[1] if node == 3 else 0
        if int(base[0]) == 1 and base[1][0] != 'string':
            return np.zeros(length, base[1][0].replace('octet', 'uint8'))
        return []


def write_episode(
    folder: Path, robot: RobotSpec, recipe: Recipe, definitions: Definitions | None = None,
) -> EpisodeMeta:
    """Write a complete episode (bag, metadata.yaml, episode.json) into `folder`."""
    definitions = definitions or Definitions()
    writer = EpisodeBagWriter(folder, recipe.id, definitions)
    specs = {spec.name: spec
             for spec in topics.robot_topics(robot.camera_names, robot.command_interface)}
    for name, spec in specs.items():
        writer.add_topic(spec, f'/{robot.name}/{name}')
    messages = Messages(definitions)
    for log_ns, topic, message in _script(robot, recipe, messages):
        if recipe.edit:
            message = recipe.edit(topic, message)
        if message is not None:
            writer.write(f'/{robot.name}/{topic}', messages.serialize(message), log_ns)
    bag = writer.close({'episode_id': recipe.id})
    period = robot.period_ns
    meta = EpisodeMeta(
        id=recipe.id, robot=robot.name, robot_digest=robot.digest, robot_spec=robot.to_dict(),
        task=recipe.task, instruction=recipe.instruction, outcome=recipe.outcome,
        stop_reason='labelled', seed=recipe.seed, labelled_by='synthetic', clock='sim',
        started_ns=recipe.start_ns, ended_ns=recipe.start_ns + (recipe.ticks - 1) * period,
        recorded_at=recipe.recorded_at,
        checkpoints=[{'digest': recipe.checkpoint, 'step': 1, 'since_ns': recipe.start_ns}],
        topics={tally.topic: tally.record() for tally in bag.topics.values()}, bag=bag.record())
    meta.write(folder)
    return meta


def _script(robot: RobotSpec, recipe: Recipe,
            messages: Messages) -> Iterator[tuple[int, str, Any]]:
    """Yield (receive stamp, topic, message) in order of arrival."""
    yield recipe.start_ns - recipe.lead * robot.period_ns, 'episode', _episode(
        robot, recipe, messages, _PHASE_READY, -recipe.lead)
    for tick in range(-recipe.lead, recipe.ticks):
        stamp = recipe.start_ns + tick * robot.period_ns
        if tick == 0:
            yield stamp, 'episode', _episode(robot, recipe, messages, _PHASE_RUNNING, 0)
        yield from ((stamp, *item) for item in _sensors(robot, recipe, messages, tick, stamp))
        if recipe.gap and recipe.gap[0] <= tick < recipe.gap[1]:
            continue
        yield from ((stamp, *item) for item in _actions(robot, recipe, messages, tick, stamp))
    for phase in (_PHASE_LABELLING, _PHASE_IDLE):
        stamp = recipe.start_ns + recipe.ticks * robot.period_ns
        yield stamp, 'episode', _episode(robot, recipe, messages, phase, recipe.ticks)


def joints_at(robot: RobotSpec, recipe: Recipe, tick: int) -> np.ndarray:
    """Return the measured joint positions float64 [d] at a tick: slow waves inside the limits."""
    phase = np.arange(robot.action_dim) + 0.05 * tick + recipe.seed
    lower = np.array([joint.lower for joint in robot.joints])
    upper = np.array([joint.upper for joint in robot.joints])
    return np.asarray(0.5 * (lower + upper) + 0.2 * (upper - lower) * np.sin(phase))


def _sensors(robot: RobotSpec, recipe: Recipe, messages: Messages, tick: int,
             stamp: int) -> Iterator[tuple[str, Any]]:
    joints = joints_at(robot, recipe, tick)
    header = messages.header(stamp)
    yield 'joint_states', messages.make(
        'sensor_msgs/msg/JointState', header=header, name=list(robot.joint_names), position=joints)
    if robot.state_names:
        values = np.sin(np.arange(len(robot.state_names)) + 0.05 * tick + recipe.seed)
        yield 'state_observation', messages.make(
            'lwd_msgs/msg/StateObservation', header=header, names=list(robot.state_names),
            values=values.astype(np.float32))
    for camera in robot.camera_names if recipe.jpeg else ():
        assert recipe.jpeg is not None
        data = np.frombuffer(recipe.jpeg(camera, tick), np.uint8)
        yield topics.camera(camera).name, messages.make(
            'sensor_msgs/msg/CompressedImage', header=replace(header, frame_id=camera),
            format='jpeg', data=data)


def _actions(robot: RobotSpec, recipe: Recipe, messages: Messages, tick: int,
             stamp: int) -> Iterator[tuple[str, Any]]:
    running = tick >= 0
    human = running and recipe.human is not None and recipe.human[0] <= tick < recipe.human[1]
    source = 0 if not running else _SOURCE_HUMAN if human else _SOURCE_POLICY
    chunk_id = tick // recipe.chunk + 1 if source == _SOURCE_POLICY else 0
    names, header = list(robot.joint_names), messages.header(stamp)
    action = joints_at(robot, recipe, tick + 1)
    if source == _SOURCE_POLICY and tick % recipe.chunk == 0:
        sources = ['joint_states'] + (['state_observation'] if robot.state_names else [])
        sources += [f'camera/{camera}' for camera in robot.camera_names if recipe.jpeg]
        rows = [joints_at(robot, recipe, tick + 1 + i) for i in range(recipe.chunk)]
        yield 'policy/chunk', messages.make(
            'lwd_msgs/msg/ActionChunk', header=header, chunk_id=chunk_id,
            checkpoint=recipe.checkpoint, observation_sources=sources,
            observation_stamps=[header.stamp] * len(sources), horizon=recipe.chunk,
            action_dim=len(names), joint_names=names,
            actions=np.concatenate(rows).astype(np.float32))
    yield 'executed_action', messages.make(
        'lwd_msgs/msg/ExecutedAction', header=header, source=source, tick=max(tick, 0),
        joint_names=names, requested=action if source else np.zeros(0), sent=action,
        chunk_id=chunk_id, chunk_index=tick % recipe.chunk if chunk_id else 0)


def _episode(robot: RobotSpec, recipe: Recipe, messages: Messages, phase: int, tick: int) -> Any:
    value = {'success': 1, 'failure': 2, 'discarded': 3}.get(recipe.outcome, 0)
    ended = recipe.start_ns + (recipe.ticks - 1) * robot.period_ns
    header = messages.header(recipe.start_ns + tick * robot.period_ns)
    return messages.make(
        'lwd_msgs/msg/EpisodeState', header=header,
        episode_id=recipe.id, robot=robot.name, task=recipe.task, instruction=recipe.instruction,
        phase=phase, start_mode=1,
        outcome=messages.make('lwd_msgs/msg/Outcome', value=value if phase == _PHASE_IDLE else 0),
        started=messages.time(recipe.start_ns if phase in (_PHASE_RUNNING, 4, 0) else 0),
        ended=messages.time(ended if phase in (_PHASE_LABELLING, _PHASE_IDLE) else 0),
        seed=recipe.seed, time_limit=60.0)
