# SPDX-License-Identifier: Apache-2.0
"""One recorded episode as a Rerun recording (.rrd), with the layout to look at it.

    camera/<name>                        every frame a policy could have seen, at its own stamp
    joints/<arm>/measured, .../sent      rad, jaws: fraction open; one series a joint
    driver                               0 hold, 1 policy, 2 human; clamped: the guard changed it
    takeovers, episode                   who took over, when and why; task, outcome, checkpoints

Timelines: `time`, s since the first tick, and `tick`.
"""

from __future__ import annotations

from pathlib import Path
import tempfile
from typing import Any

import numpy as np

from lwd_bringup.audits import seen_with
from lwd_bringup.export.errors import ExchangeError
from lwd_core.episode import EpisodeMeta, read_episode
from lwd_core.robot import RobotSpec
from lwd_core.store import close_to_others, make_dirs

DRIVERS = {0: 'hold', 1: 'policy', 2: 'human'}
MEASURED, SENT = 'measured', 'sent'


def export_rerun(folder: Path, out: Path) -> None:
    """Write the episode in `folder` to the new file `out`; needs `rerun-sdk`."""
    rr = _rerun()
    if out.exists():
        raise ExchangeError(f'{out} exists: name a file that does not, or move it away')
    meta = EpisodeMeta.read(folder)
    robot = RobotSpec.from_dict(meta.robot_spec, str(folder))
    data = read_episode(folder, robot, seen_with(meta, robot), require_outcome=False)
    make_dirs(out.parent)
    # A folder that is closed to others: Rerun writes files that are not.
    with tempfile.TemporaryDirectory(prefix='.rerun-', dir=out.parent) as scratch:
        partial = Path(scratch) / out.name
        recording = rr.RecordingStream('lwd', recording_id=meta.id)
        recording.save(str(partial), default_blueprint=_blueprint(robot, data.cameras))
        _write(rr, recording, robot, data)
        recording.flush()
        recording.disconnect()
        close_to_others(partial)
        partial.replace(out)


def arms_of(robot: RobotSpec) -> dict[str, list[int]]:
    """Return the joints of each arm by index; a joint belongs to what stands before its '/'."""
    arms: dict[str, list[int]] = {}
    for index, name in enumerate(robot.joint_names):
        arms.setdefault(name.rpartition('/')[0] or 'robot', []).append(index)
    return arms


def _write(rr: Any, recording: Any, robot: RobotSpec, data: Any) -> None:
    recording.log('episode', rr.TextDocument(_summary(data.meta), media_type='text/markdown'),
                  static=True)
    time = _seconds(data, data.ticks_ns)
    ticks = [rr.TimeColumn('time', duration=time), rr.TimeColumn('tick', sequence=range(len(time)))]
    for arm, joints in arms_of(robot).items():
        names = [robot.joint_names[joint].rpartition('/')[2] for joint in joints]
        for what, values in ((MEASURED, data.joints), (SENT, data.actions)):
            path = f'joints/{arm}/{what}'
            recording.log(path, rr.SeriesLines(names=[f'{name} {what}' for name in names]),
                          static=True)
            chosen = np.ascontiguousarray(values[:, joints], np.float64)
            recording.send_columns(path, ticks, rr.Scalars.columns(
                scalars=chosen.ravel()).partition([len(joints)] * len(time)))
    for path, values in (('driver', data.source), ('clamped', data.clamped != 0)):
        recording.log(path, rr.SeriesLines(names=path, interpolation_mode='StepAfter'),
                      static=True)
        recording.send_columns(path, ticks, rr.Scalars.columns(
            scalars=np.asarray(values, np.float64)))
    for camera in data.cameras:
        _frames(rr, recording, data, camera)
    _takeovers(rr, recording, data)


def _frames(rr: Any, recording: Any, data: Any, camera: str) -> None:
    stamps, first = np.unique(data.frame_stamps(camera), return_index=True)
    frames = [data.frame(camera, int(tick)) for tick in first]
    recording.send_columns(
        f'camera/{camera}', [rr.TimeColumn('time', duration=_seconds(data, stamps)),
                             rr.TimeColumn('tick', sequence=first)],
        rr.EncodedImage.columns(blob=frames, media_type=['image/jpeg'] * len(frames)))


def _takeovers(rr: Any, recording: Any, data: Any) -> None:
    for one in data.meta.interventions:
        who = one.get('operator') or 'somebody'
        for key, text in (
                ('start_ns', f'{who} takes over: {one.get("reason") or "no reason noted"}'),
                ('end_ns', f'{who} hands back: {one.get("end_reason") or "no reason noted"}')):
            if stamp := one.get(key):
                recording.set_time('time', duration=float(_seconds(data, stamp)))
                recording.log('takeovers', rr.TextLog(text, level='WARN'))
    recording.reset_time()


def _seconds(data: Any, stamps: Any) -> Any:
    return (np.asarray(stamps, np.int64) - int(data.ticks_ns[0])) / 1e9


def _summary(meta: EpisodeMeta) -> str:
    rows = {'task': meta.task, 'outcome': meta.outcome, 'robot': meta.robot,
            'recorded': meta.recorded_at, 'stopped': f'{meta.stop_reason} {meta.detail}'.strip(),
            'takeovers': f'{len(meta.interventions)} ({meta.takeover_share:.0%} of the time)',
            'checkpoints': ', '.join(str(one['digest'])[:12] for one in meta.checkpoints) or 'none'}
    table = '\n'.join(f'| {key} | {value} |' for key, value in rows.items())
    return f'# {meta.instruction or meta.task}\n\n| | |\n|---|---|\n{table}\n\n`{meta.id}`\n'


def _blueprint(robot: RobotSpec, cameras: tuple[str, ...]) -> Any:
    import rerun.blueprint as rrb
    arms = [rrb.TimeSeriesView(origin=f'joints/{arm}', name=f'{arm}: measured and sent')
            for arm in arms_of(robot)]
    driving = rrb.TimeSeriesView(origin='/', contents=['driver', 'clamped'],
                                 name='driver: 0 hold, 1 policy, 2 human')
    said = rrb.Horizontal(rrb.TextDocumentView(origin='episode', name='episode'),
                          rrb.TextLogView(origin='takeovers', name='takeovers'))
    rows = [rrb.Horizontal(*(rrb.Spatial2DView(origin=f'camera/{camera}', name=camera)
                             for camera in cameras))] if cameras else []
    return rrb.Blueprint(rrb.Vertical(*rows, rrb.Horizontal(*arms), driving, said),
                         collapse_panels=True)


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise ExchangeError('--rerun needs rerun-sdk: `make setup EXTRAS=1`, or pip install '
                            'rerun-sdk') from error
    return rerun
