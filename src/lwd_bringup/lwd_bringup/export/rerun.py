# SPDX-License-Identifier: Apache-2.0
"""One recorded episode as a Rerun recording (.rrd): cameras, joints, actions, who drove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lwd_bringup.audits import seen_with
from lwd_bringup.export.errors import ExchangeError
from lwd_core.episode import EpisodeMeta, read_episode
from lwd_core.robot import RobotSpec

DRIVERS = {0: 'hold', 1: 'policy', 2: 'human'}


def export_rerun(folder: Path, out: Path) -> None:
    """Write the episode in `folder` to the new file `out`; needs `rerun-sdk`."""
    rr = _rerun()
    if out.exists():
        raise ExchangeError(f'{out} exists: name a file that does not, or move it away')
    meta = EpisodeMeta.read(folder)
    robot = RobotSpec.from_dict(meta.robot_spec, str(folder))
    data = read_episode(folder, robot, seen_with(meta, robot), require_outcome=False)
    partial = out.with_name(out.name + '.partial')
    recording = rr.RecordingStream('lwd', recording_id=meta.id)
    recording.save(str(partial))
    summary = (f'{meta.instruction}\n\ntask {meta.task}, {meta.outcome}, robot {meta.robot}, '
               f'{len(meta.interventions)} takeovers')
    recording.log('episode', rr.TextDocument(summary), static=True)
    driver = None
    for t in range(len(data)):
        recording.set_time('time', duration=(int(data.ticks_ns[t]) - int(data.ticks_ns[0])) / 1e9)
        for camera in data.cameras:
            recording.log(f'camera/{camera}', rr.EncodedImage(
                contents=data.frame(camera, t), media_type='image/jpeg'))
        for index, name in enumerate(robot.joint_names):
            recording.log(f'joints/{name}', rr.Scalars(float(data.joints[t, index])))
            recording.log(f'actions/{name}', rr.Scalars(float(data.actions[t, index])))
        recording.log('clamped', rr.Scalars(float(data.clamped[t] != 0)))
        if data.source[t] != driver:
            driver = data.source[t]
            recording.log('driver', rr.TextLog(DRIVERS.get(int(driver), str(driver))))
    recording.flush()
    recording.disconnect()
    partial.replace(out)


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise ExchangeError('--rerun needs rerun-sdk: `make setup EXTRAS=1`, or pip install '
                            'rerun-sdk') from error
    return rerun
