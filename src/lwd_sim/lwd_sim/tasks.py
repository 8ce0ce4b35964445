# SPDX-License-Identifier: Apache-2.0
"""The tasks as data: which items lie where at the start, and which goals make a success.

A task is an ordered list of goals; success is sparse: every item rests on its goal, let go. A new
task is one entry in TASKS (and its instruction in config/tasks/sim.yaml). The eight tasks of the
suite stand in suite.py.
"""
from lwd_sim.goals import Goal, Slot, Start, Task

__all__ = ['all_tasks', 'get_task', 'Goal', 'place_of', 'Slot', 'SLOTS', 'Start', 'Task', 'TASKS']

SLOTS = {
    'lower_left': Slot((-.2, .46, .06)),
    'lower_right': Slot((.2, .46, .06), (.16, .05)),
    'lower_middle': Slot((0., .46, .06), (.12, .05)),
    'upper_left': Slot((-.2, .565, .16), surface='shelf1'),
    'upper_right': Slot((.2, .565, .16), surface='shelf1'),
}

TASKS = {task.name: task for task in (
    Task('place', (Goal('milk', 'lower_left', 'single', ('left',)),),
         (('milk', Start((-.28, -.12), (.26, .36), (-.3, .3))),), 250, 65),
    Task('crate', (Goal('crate', 'lower_middle', 'both', ('left', 'right')),),
         (('crate', Start((-.04, .04), (.27, .33), (-.1, .1))),), 350, 65),
    Task('handover', (Goal('pasta', 'lower_right', 'handover', ('left', 'right')),),
         (('pasta', Start((-.24, -.14), (.28, .36), (-.15, .15))),), 450, 95),
)}


def place_of(goal: Goal) -> Slot:
    """Return the slot a goal's item belongs to."""
    return goal.slot if isinstance(goal.slot, Slot) else SLOTS[goal.slot]


def all_tasks() -> dict[str, Task]:
    """Return every task by name: the demonstration's, then the suite's."""
    from lwd_sim.suite import SUITE  # built of this module's parts

    return {**TASKS, **SUITE}


def get_task(name: str) -> Task:
    """Return a task by name; raise ValueError naming those that exist."""
    tasks = all_tasks()
    if name not in tasks:
        raise ValueError(f'task {name!r} is unknown; tasks are {", ".join(tasks)}')
    return tasks[name]
