# SPDX-License-Identifier: Apache-2.0
"""A whole session on whole ticks: both cores, a scripted device, a scripted policy and a bag."""

from intervention_fixtures import HOME, NAMES, PERIOD
import numpy as np

from lwd_core.clock import Tick
from lwd_core.robot import JointSpec, RobotSpec
from lwd_core.task import TaskSpec
from lwd_core.topics import CommandTag
from lwd_intervention.arbiter import messages
from lwd_intervention.arbiter.core import Arbiter
from lwd_intervention.arbiter.records import (
    ArbiterConfig,
    Episode,
    Executed,
    ModeChange,
    Request,
    Takeover,
)
from lwd_intervention.arbiter.watch import Teleop
from lwd_intervention.episode.machine import EpisodeMachine
from lwd_intervention.episode.open_takeover import OpenTakeover
from lwd_intervention.episode.readiness import EpisodeConfig
from lwd_intervention.episode.requests import Refused, Start
from lwd_intervention.episode.state import Phase, PREPARING
from lwd_intervention.modes import by_deadman, Mode

ROBOT = RobotSpec('slow', 'test', (  # slow to brake, so that a bump would be seen
    JointSpec('elbow', -1.0, 1.0, 2.0, 12.0), JointSpec('jaw', 0.0, 1.0, 5.0, 100.0)), (), 25.0)
LAG = 0.7  # share of the way to the command that the joints make in a tick
TASKS = {'place': TaskSpec('place', 'place it', 1000.0)}


class Device:
    """A joystick: its deadman, and what it does wrong."""

    def __init__(self):
        self.held, self.plugged, self.frozen, self.nan = False, True, False, False
        self.stuck = False  # sends on although nobody holds the deadman
        self.direction = 1.0

    @property
    def drives(self):
        return (self.held or self.stuck) and self.plugged and not self.frozen

    @property
    def reason(self):
        return '' if self.plugged else 'unplugged'


class Session:
    """Everything in one thread; what would be published is appended to `bag` with its event."""

    def __init__(self):
        self.now, self.wall, self.event, self.boots = 0, 0.0, 0, 0
        self.bag = []                    # (event number, record or Intervention)
        self.device, self.position, self.sent = Device(), HOME.copy(), HOME.copy()
        self.policy_ready, self.policy_acts, self.policy_nan = True, True, False
        self.joints_come = True
        self.episodes = EpisodeMachine(EpisodeConfig('arm1', label_timeout=1e9), TASKS)
        self.open = OpenTakeover()
        self.boot()
        self.do_episode('on_policy', True, '')
        self.tick()

    def boot(self):
        """Start an arbiter, the first one or one after a crash, which takes a second."""
        self.boots += 1
        self.arbiter = Arbiter(ROBOT, ArbiterConfig(
            first_command_timeout=0.2, start_at_tick=True, max_ahead_periods=1),
            steady=lambda: self.wall + self.boots)
        self.take(self.arbiter.on_joints(self.position, None))
        self.take(self.arbiter.on_policy_status(self.policy_ready, 'loading', 'c0ffee'))
        self.tell_episode(self.episodes.state)
        self.status()
        end = self.open.lost('arbiter restarted', self.now * PERIOD, 0)
        if end is not None:
            self.bag.append((self.event, end))

    # -- wiring

    def take(self, out):
        for record in out:
            self.bag.append((self.event, record))
            if isinstance(record, Executed):
                self.sent = record.sent.copy()
            elif isinstance(record, ModeChange):
                self.do_episode('on_mode', record.mode, record.reason)
            elif isinstance(record, Takeover):
                self.open.take(messages.intervention(record))

    def do_episode(self, event, *arguments):
        for state in getattr(self.episodes, event)(*arguments, self.wall):
            self.tell_episode(state)

    def tell_episode(self, state):
        self.bag.append((self.event, state))
        self.take(self.arbiter.on_episode(Episode(
            state.id, state.phase is Phase.RUNNING, state.phase in PREPARING,
            Mode(state.start_mode), state.started_ns, state.phase is Phase.LABELLING)))
        if state.phase is Phase.READY:
            self.do_episode('on_recorder', state.id, '')

    # -- what happens

    def tick(self, step=1, reset=False):
        """Let time pass to the next tick (or jump), then let everybody act on it."""
        self.now += step
        self.wall += 0.04 * max(1, step)
        self.position += LAG * (self.sent - self.position)
        if self.joints_come:
            self.take(self.arbiter.on_joints(self.position, self.now * PERIOD))
        self.take(self.arbiter.on_tick(Tick(self.now * PERIOD, reset=reset)))
        for state in self.episodes.on_tick(self.now * PERIOD, self.wall):
            self.tell_episode(state)
        self.do_episode('on_wall')
        self.drive()

    def drive(self):
        """Let the device and the policy send their command of this tick."""
        device, core = self.device, self.arbiter
        if device.drives:
            where = self.sent + np.array([0.05 * device.direction, 0.0])
            where = np.full(2, np.nan) if device.nan else where
            self.take(core.on_human_command(Request(self.now * PERIOD, where, NAMES)))
        if self.policy_acts and self.policy_ready and core.mode is Mode.POLICY:
            where = np.full(2, np.nan) if self.policy_nan else np.array([-0.5, 0.5])
            self.take(core.on_policy_command(Request(
                self.now * PERIOD, where, NAMES, CommandTag(core.epoch, 7, 0))))

    def stray(self, driver, ahead, epochs_ago, index):
        """Deliver a command of another time: late, early, of another epoch, twice."""
        stamp = max(0, self.now + ahead) * PERIOD
        if driver is Mode.HUMAN:
            self.take(self.arbiter.on_human_command(Request(stamp, HOME, NAMES)))
        else:
            tag = CommandTag(max(0, self.arbiter.epoch - epochs_ago), 7, index)
            self.take(self.arbiter.on_policy_command(Request(stamp, HOME, NAMES, tag)))

    def status(self):
        """Publish the device's status, as on a change and at 5 Hz."""
        self.take(self.arbiter.on_teleop_status('pad', Teleop(
            self.now * PERIOD, self.device.held and self.device.plugged, self.device.reason)))

    def ask(self, mode):
        accepted, message, out = self.arbiter.request_mode(mode, 'ann', 'pad', by_deadman(['left']))
        self.take(out)
        return accepted, message

    def say(self, words):
        self.take(self.arbiter.on_words(words))

    def start(self, mode):
        try:
            states = self.episodes.start(
                Start('place', start_mode=int(mode)), self.wall, 1_795_357_000_123)
        except Refused:
            return False
        for state in states:
            self.tell_episode(state)
        return True

    def label(self, outcome, named):
        try:
            episode = self.episodes.state.id if named else ''
            self.do_episode('label', episode, outcome, (), 'ann', '')
        except Refused:
            return False
        return True

    def crash(self):
        """Kill the arbiter without a word, and start another."""
        self.boot()

    def finish(self):
        """End the session as a shutdown does."""
        self.take(self.arbiter.shutdown())
