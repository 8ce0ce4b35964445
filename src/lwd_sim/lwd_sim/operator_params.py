# SPDX-License-Identifier: Apache-2.0
"""The scripted operator's parameters."""
from dataclasses import dataclass

from lwd_core.params import param, ParamError


@dataclass(frozen=True)
class OperatorParams:
    """Parameters of the scripted operator."""

    robot_file: str = param('', 'robot YAML: control rate')
    robot: str = param('', 'robot name, for the log')
    tasks_file: str = param('', 'task YAML: which tasks there are')
    mode: str = param('supervise', 'drive every episode, or watch and correct the policy',
                      choices=('demonstrate', 'supervise'))
    tasks: tuple[str, ...] = param(('place',), 'tasks, taken in turn')
    episodes: int = param(0, 'episodes to run; 0: until stopped', lower=0)
    seed: int = param(100_000, 'seed of the first start; counts up once all tasks had it', lower=0)
    operator_name: str = param('scripted', 'name in takeovers and labels')
    noise: float = param(0.01, 'std on his joint targets: variety for the learner', unit='rad',
                         lower=0.0, upper=0.1)
    patience: int = param(25, 'ticks without progress before he takes over', lower=1)
    max_takeovers: int = param(4, 'after as many he finishes the episode himself', lower=1)
    hand_back: bool = param(True, 'hand back once corrected')
    teleop: str = param('direct', 'how he moves the arms: joint targets, or sticks, deadman and '
                        'buttons of a virtual joystick', choices=('direct', 'joystick'))
    joystick_tasks: tuple[str, ...] = param((), 'tasks he drives with the joystick; (): all')
    exit_when_done: bool = param(False, 'leave after the last episode')

    def __post_init__(self) -> None:
        """Refuse to start without files and tasks."""
        for name in ('robot_file', 'tasks_file'):
            if not getattr(self, name):
                raise ParamError(f"parameter {name}: '' refused, name a YAML file "
                                 f"(e.g. config/{name.split('_')[0].rstrip('s')}s/sim.yaml)")
        if not self.tasks:
            raise ParamError('parameter tasks: () refused, name at least one task')
