# SPDX-License-Identifier: Apache-2.0
"""The learner as a ROS 2 node at /lwd: a training thread, and an executor that only tells.

The thread owns the session; the executor reads its status and newest checkpoint (whole objects,
replaced at once) and publishes them.
"""

from __future__ import annotations

from dataclasses import dataclass
import logging
import math
import os
from pathlib import Path
import sys
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
import torch

from lwd_core import topics
from lwd_core.checkpoint import CheckpointError, CheckpointRef
from lwd_core.params import param, ParamError
from lwd_core.robot import RobotSpec
from lwd_core.ros_params import declare
from lwd_core.ros_qos import publisher
from lwd_core.ros_spin import run
from lwd_core.spec import SpecError
from lwd_core.store import open_store, StoreError
from lwd_core.task import load_tasks
from lwd_learner.config import LearnerConfig
from lwd_learner.ingest import WorkDirError
from lwd_learner.online import FAULT, OFFLINE, ONLINE, WAITING
from lwd_learner.replay import ReplayError
from lwd_learner.session import CLONING, LearnerSession, SessionSettings
from lwd_learner.state_io import StateError
from lwd_learner.status import Status
from lwd_learner.trainer import Workspace
from lwd_learner.trunk import make_trunk
from lwd_msgs.msg import CheckpointAnnouncement, LearnerStatus

LOGGER = logging.getLogger(__name__)
PHASES = {
    WAITING: LearnerStatus.IDLE, CLONING: LearnerStatus.OFFLINE, OFFLINE: LearnerStatus.OFFLINE,
    ONLINE: LearnerStatus.ONLINE, FAULT: LearnerStatus.FAULT,
}
EXPECTED = (  # errors that say in one line what to do
    ParamError, SpecError, StoreError, CheckpointError, StateError, WorkDirError, ReplayError,
    ValueError,
)
METRICS = {  # LearnerStatus field -> name in Status.metrics
    'loss_value': 'value_loss', 'loss_critic': 'q_loss', 'loss_policy': 'qam_loss', 'tau': 'tau',
    'entropy': 'entropy', 'q_success': 'q_success', 'q_failure': 'q_failure',
    'q_human': 'q_human', 'q_policy': 'q_policy',
}


@dataclass(frozen=True)
class LearnerParams:
    """Parameters of the learner node."""

    store: str = param('', 'folder that robots and learner share')
    work_dir: str = param('', "the learner's own folder: index, replay cache, resume state")
    robot_file: str = param('', 'robot YAML that policies are trained for')
    tasks_file: str = param('', 'task YAML: episodes of other tasks are refused')
    config: str = param('', "learner YAML (config/learner/*.yaml); '' takes the defaults")
    observation: str = param('state', 'what the policy sees', choices=('state', 'pixels'))
    seed: int = param(0, 'seed of training', lower=0, upper=2**31 - 1)
    initial_checkpoint: str = param('', "digest or uri to start from; '': the channel's")
    bootstrap_demonstrations: int = param(
        0, 'with no checkpoint to start from, clone so many successful demonstrations; 0: wait',
        lower=0, upper=1_000_000)
    threads: int = param(1, 'threads of tensor operations', lower=1, upper=256)
    niceness: int = param(5, 'how far the learner steps back for others on this machine',
                          lower=0, upper=19)
    poll_period: float = param(1.0, 'time between looks into the store', unit='s',
                               lower=0.05, upper=600.0)

    def __post_init__(self) -> None:
        """Refuse to start without what has no sensible default."""
        for name in ('store', 'work_dir', 'robot_file', 'tasks_file'):
            if not getattr(self, name):
                raise ParamError(f"parameter {name}: '' refused, give a path")


class LearnerNode(Node):
    """Parameters in, status and announcements out."""

    def __init__(self, **kwargs: Any) -> None:
        """Open store and work folder, then let the training thread run."""
        super().__init__('learner', **kwargs)
        self.params = declare(self, LearnerParams)
        self.workspace = open_workspace(self.params)
        self.session = LearnerSession(self.workspace, SessionSettings(
            self.params.initial_checkpoint, self.params.bootstrap_demonstrations,
            self.params.poll_period))
        self.failure: BaseException | None = None
        self._announced: CheckpointRef | None = None
        self._checkpoint = publisher(self, topics.CHECKPOINT)
        self._status = publisher(self, topics.LEARNER_STATUS)
        self._diagnostics = publisher(self, topics.DIAGNOSTICS)
        self.create_timer(1.0, self.tell)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._train, name='training')
        self._thread.start()

    def tell(self) -> None:
        """Publish the status, and the newest checkpoint if it is another one."""
        stamp, status = self.get_clock().now().to_msg(), self.session.status
        message = status_message(status, self.session.rejected)
        message.header.stamp = stamp
        self._status.publish(message)
        array = DiagnosticArray(status=[diagnostic(self.get_fully_qualified_name(), status)])
        array.header.stamp = stamp
        self._diagnostics.publish(array)
        ref = self.session.announced
        if ref is not None and ref != self._announced:
            announcement = announce(ref, self.workspace.config.publish.channel)
            announcement.header.stamp = stamp
            self._checkpoint.publish(announcement)
            self._announced = ref

    def destroy_node(self) -> None:
        """End the training thread; it publishes and saves; then tell its last words."""
        self._stop.set()
        self._thread.join()
        self.tell()
        super().destroy_node()

    def _train(self) -> None:
        os.nice(self.params.niceness)  # of this thread and those it starts; the teller stays brisk
        torch.set_num_threads(self.params.threads)
        try:
            while not self._stop.is_set():
                if not self.session.turn():
                    self._stop.wait(min(self.params.poll_period, 0.2))
            self.session.close()
        except BaseException as error:  # the process must end with it, not linger without a learner
            LOGGER.error('learner stopped: %s', error, exc_info=not isinstance(error, EXPECTED))
            self.failure = error


def open_workspace(params: LearnerParams) -> Workspace:
    """Return what the parameters name; raises what the file at fault raises."""
    return Workspace(
        open_store(params.store), Path(params.work_dir), RobotSpec.from_yaml(params.robot_file),
        load_tasks(params.tasks_file), params.observation, LearnerConfig.from_yaml(params.config),
        make_trunk(params.observation, params.robot_file), params.seed)


def status_message(status: Status, rejected: int) -> LearnerStatus:
    """Return the message without its stamp."""
    message = LearnerStatus(
        phase=PHASES[status.phase], reason=status.reason, step=status.step,
        episodes_offline=status.episodes[0], episodes_online=status.episodes[1],
        episodes_rejected=rejected, transitions_offline=status.transitions[0],
        transitions_online=status.transitions[1], checkpoint=status.checkpoint,
        checkpoints_published=status.checkpoints_published,
        updates_per_second=status.updates_per_second, data_wait_share=status.data_wait_share,
        replay_age=status.replay_age)
    for name, metric in METRICS.items():
        setattr(message, name, status.metric(metric))
    return message


def diagnostic(name: str, status: Status) -> DiagnosticStatus:
    """Return one diagnostic status; ERROR after a fault."""
    values = {
        'step': status.step, 'updates/s': f'{status.updates_per_second:.2f}',
        'episodes offline': status.episodes[0], 'episodes online': status.episodes[1],
        'checkpoints published': status.checkpoints_published,
        **{key: f'{value:.4g}' for key, value in sorted(status.metrics.items())
           if math.isfinite(value)},
    }
    level = DiagnosticStatus.ERROR if status.phase == FAULT else DiagnosticStatus.OK
    return DiagnosticStatus(
        level=level, name=f'{name.lstrip("/")}: training',
        message=f'{status.phase}: {status.reason}'.rstrip(': '),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])


def announce(ref: CheckpointRef, channel: str) -> CheckpointAnnouncement:
    """Return the message without its stamp."""
    return CheckpointAnnouncement(
        channel=channel, digest=ref.digest, step=ref.step, uri=ref.uri,
        robot_digest=ref.robot_digest)


def main(args: list[str] | None = None) -> None:
    """Run until SIGINT or SIGTERM; exit 2 with one line on a bad parameter or file."""
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')
    node = run(LearnerNode, args, expected=EXPECTED, done=lambda node: node.failure is not None)
    sys.exit(0 if node.failure is None else 1)


if __name__ == '__main__':
    main()
