# SPDX-License-Identifier: Apache-2.0
"""A two-armed toy robot, a small pad and a source that follows its one stick."""

import numpy as np

from lwd_core.robot import JointSpec, RobotSpec
from lwd_intervention.teleop.controls import deflections, JoySample
from lwd_intervention.teleop.effects import AskMode, CallEpisode, Say, SendCommand
from lwd_intervention.teleop.mapping import Mapping
from lwd_intervention.teleop.session import Session
from lwd_intervention.teleop.source import Step

PERIOD = 40_000_000
HOME = np.array([0.1, 0.5, -0.1, 0.5])
PAD = {
    'device': 'gamepad', 'axes': ['stick'], 'deadzone': 0.1, 'curve': 1.0,
    'buttons': ['lb', 'rb', 'b', 'y', 'a', 'x', 'back', 'start', 'r3'],
    'deadman': {'left': 'lb', 'right': 'rb'}, 'layers': {'move': {'x': 'stick'}},
    'actions': {'estop': 'b', 'handback': 'y', 'success': 'a', 'failure': 'x',
                'discard': ['back', 'x'], 'start': 'start', 'frame': 'r3'},
}


def pad(**changes):
    return Mapping.from_dict({**PAD, **changes}, 'pad', 'pad.yaml')


def robot():
    joints = tuple(JointSpec(f'{arm}/{name}', low, 1.0, 4.0, 200.0)
                   for arm in ('left', 'right') for name, low in (('elbow', -1.0), ('jaw', 0.0)))
    return RobotSpec('toy', 'test', joints, (), 25.0, home=tuple(HOME))


class StickSource:
    """Every held arm's elbow moves by the stick, 0.1 rad a tick."""

    name, arms = 'joystick', ('left', 'right')

    def __init__(self, mapping):
        self.mapping, self.fault, self.acts, self.begun = mapping, '', [], []
        self.aligned = True
        self.sample = None

    @property
    def moving(self):
        return self._stick() != 0.0

    def _stick(self):
        return 0.0 if self.sample is None else deflections(
            self.mapping, self.sample, 'left', 'move')[0]

    def trouble(self, now_ns):
        return self.fault

    def look(self, sample):
        self.sample = sample

    def act(self, action):
        self.acts.append(action)
        return action

    def begin(self, start):
        self.begun.append(np.array(start))
        self.command = np.array(start)

    def step(self, now_ns, held, measured):
        for index, arm in enumerate(self.arms):
            self.command[2 * index] += 0.1 * self._stick() * held[arm]
        return Step(self.command.copy(), dict.fromkeys(self.arms, 1.0), '', self.aligned)

    def status(self):
        return {}


class Person:
    """A session, its pad and a clock of ticks; remembers every effect."""

    def __init__(self, mapping=None, **config):
        self.mapping = mapping or pad()
        self.source = StickSource(self.mapping)
        self.session = Session(self.mapping, self.source, **config)
        self.now, self.out = 10 * PERIOD, []
        self.session.on_joints(HOME)

    def add(self, effects):
        self.out += effects
        return effects

    def joy(self, *down, stick=0.0, age=0, axes=None):
        buttons = [int(name in down) for name in self.mapping.buttons]
        return self.add(self.session.on_joy(
            JoySample(self.now - age, (stick,) if axes is None else axes, buttons), self.now))

    def tick(self):
        self.now += PERIOD
        return self.add(self.session.on_tick(self.now))

    def live(self, *down, stick=0.0, ticks=1):
        """Pass ticks with a healthy device that holds these buttons."""
        for _ in range(ticks):
            # A hand is never quite still.
            self._wobble = -getattr(self, '_wobble', 0.001)
            self.tick()
            self.joy(*down, stick=stick and stick + self._wobble)

    def mode(self, mode):
        return self.add(self.session.on_mode(mode))

    def episode(self, id_, phase):
        return self.add(self.session.on_episode(id_, phase, self.now))

    def asked(self):
        return [effect.mode.name for effect in self.out if isinstance(effect, AskMode)]

    def reasons(self):
        return [effect.reason for effect in self.out if isinstance(effect, AskMode)]

    def commands(self):
        return [effect for effect in self.out if isinstance(effect, SendCommand)]

    def called(self):
        return [(effect.what, effect.episode_id) for effect in self.out
                if isinstance(effect, CallEpisode)]

    def said(self):
        return [effect.text for effect in self.out if isinstance(effect, Say)]
