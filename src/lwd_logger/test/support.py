# SPDX-License-Identifier: Apache-2.0
"""A recorder under test: fake clocks, fake disk, messages from a synthetic episode."""

from pathlib import Path

from lwd_core import topics
from lwd_core.episode.definitions import Definitions
from lwd_core.episode.synthetic import _script as script
from lwd_core.episode.synthetic import Messages, Recipe, START_NS
from lwd_core.robot import RobotSpec
from lwd_core.store import FolderStore
from lwd_logger.config import RecorderParams
from lwd_logger.preroll import Received
from lwd_logger.recorder import Clocks, Recorder
from lwd_logger.spool import Spool

ROOT = Path(__file__).resolve().parents[3]
ROBOT = RobotSpec.from_yaml(ROOT / 'config/robots/sim.yaml')
SPECS = {spec.name: spec for spec in topics.robot_topics(ROBOT.camera_names, 'joint_trajectory')}
DEFINITIONS = Definitions([ROOT / 'src/lwd_msgs'])
MESSAGES = Messages(DEFINITIONS)


class Bench:
    """A recorder over a store in `path`."""

    def __init__(self, path, store=None, submit=lambda job: job(), offered=lambda topic: [],
                 sync=None, **params):
        self.now = 0.0
        self.reports, self.logs = [], []
        self.store = store or FolderStore(path / 'store')
        self.spool = Spool(path / 'spool', self.store, lambda *line: self.logs.append(line))
        clocks = Clocks(lambda: self.now, lambda: '2026-01-02T03:04:05.000+00:00')
        params = RecorderParams(**{'disk_warn_mib': 0, 'disk_stop_mib': 0, **params})
        self.recorder = Recorder(
            'sim', ROBOT, SPECS, params, self.spool, DEFINITIONS, self.reports.append,
            lambda *line: self.logs.append(line), 'sim', clocks, submit, offered, sync)

    def play(self, recipe=None, until=None, **changes):
        """Feed an episode's messages; `until` (topic, message) ends it before that message."""
        recipe = recipe or Recipe(**{'ticks': 20, **changes})
        for log_ns, topic, message in script(ROBOT, recipe, MESSAGES):
            if until and until(topic, message):
                return
            self.feed(topic, message, log_ns)

    def feed(self, topic, message, log_ns, sequence=0):
        self.recorder.handle(Received(topic, MESSAGES.serialize(message), log_ns, log_ns, sequence))

    @property
    def states(self):
        return [report.state.name for report in self.reports]

    def said(self, level):
        return [text for kind, text in self.logs if kind == level]


def state_message(**fields):
    """Return a PolicyStatus to feed."""
    return MESSAGES.make('lwd_msgs/msg/PolicyStatus', header=MESSAGES.header(START_NS), **fields)


def ends(topic, message):
    """Stop before the episode is IDLE again."""
    return topic == 'episode' and message.phase == 0
