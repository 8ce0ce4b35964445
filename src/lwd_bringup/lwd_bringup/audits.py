# SPDX-License-Identifier: Apache-2.0
"""The audit of a stored episode, with the robot it was recorded on."""

from __future__ import annotations

from pathlib import Path

from lwd_core.episode.audit import Audit, refused
from lwd_core.episode.data import audit_folder
from lwd_core.episode.errors import EpisodeError
from lwd_core.episode.meta import EpisodeMeta
from lwd_core.observation import ObservationSpec
from lwd_core.robot import RobotSpec


def audit_of(folder: Path, meta: EpisodeMeta | None, robot_file: Path | None = None) -> Audit:
    """Return what the audit finds in an episode's folder; a record that is None is damaged."""
    if meta is None:
        try:
            meta = EpisodeMeta.read(folder)
        except EpisodeError as error:
            return refused(error)
    if robot_file is None and not meta.robot_spec:
        return refused(EpisodeError('meta', f'{folder}: names no robot specification: give '
                                            '--robot-file'))
    robot = (RobotSpec.from_yaml(robot_file) if robot_file is not None
             else RobotSpec.from_dict(meta.robot_spec, str(folder)))
    return audit_folder(folder, robot, seen_with(meta, robot))


def seen_with(meta: EpisodeMeta, robot: RobotSpec) -> ObservationSpec:
    """Return what the recording can be observed by: its cameras' frames, else the state."""
    cameras = tuple(
        name for name in robot.camera_names
        if any(one.get('count') and topic.startswith(f'/{meta.robot}/camera/{name}/image')
               for topic, one in meta.topics.items()))
    if cameras or not robot.state_names:
        return ObservationSpec.for_robot(robot, 'pixels', cameras)
    return ObservationSpec.for_robot(robot, 'state')
