# SPDX-License-Identifier: Apache-2.0
"""What the suite's tasks are called: instruction templates, some of them held out from training.

`(a|b)` stands for either. The first expansion of the first template is the task's own instruction.
python -m lwd_sim.suite_instructions > config/tasks/suite.yaml
"""
from dataclasses import dataclass
from functools import lru_cache
import itertools
import re

from lwd_sim.names import CONTROL_RATE
from lwd_sim.suite import SUITE

_CHOICE = re.compile(r'\(([^()]*)\)')


@dataclass(frozen=True)
class Templates:
    """Templates that may be seen in training, and templates that only evaluation uses."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]


TEMPLATES = {
    'restock_item': Templates(
        ('(put|place) the tea on the lower shelf on the left',
         'pick (up|out) the tea and restock it on the lower shelf, left'),
        ('the tea (belongs|goes) on the lower shelf at the left, leave the rest',
         'of these things only the tea is to be restocked, lower left')),
    'correct_item': Templates(
        ('move the misplaced coffee from the lower shelf to (the upper shelf|its place above)',
         'the coffee stands on the wrong shelf, (move|bring) it to the upper one'),
        ('somebody left the coffee down here, (return|take) it to the upper shelf',)),
    'door_place': Templates(
        ('open the cabinet door and (put|place) the milk inside',
         'open the door (with the right arm|on the right), then put the milk into the cabinet'),
        ('the milk goes into the cabinet, (mind|open) its door first',)),
    'handover_place': Templates(
        ('hand the pasta from the left arm to the right arm and (put|place) it on the right of '
         'the shelf',
         'take the pasta with the left arm, (pass|give) it to the right arm, put it on the right '
         'of the shelf'),
        ('the right arm shall (get|receive) the pasta from the left and shelve it',)),
    'restock_shelf': Templates(
        ('restock (the shelf|both shelves) with all six products',
         '(put|place) every product from the table on its place on the shelves'),
        ('the shelves are empty, (fill|restock) them with what stands on the table',)),
    'pack_crate': Templates(
        ('pack all four products into the crate and lift it onto the counter with both arms',
         '(put|place) the four products into the crate, then carry it to the counter with both '
         'arms'),
        ('(fill|load) the crate with everything around it and bring it to the counter',)),
    'fill_box': Templates(
        ('open the box, put the lemon, the plum and the lime in and close it',
         'take the lid off, (fill|pack) the fruit into the box, put the lid back on'),
        ('the fruit (belongs|goes) into the box under its lid',)),
    'serve': Templates(
        ('gather bun, cup and jar on the tray, cover the bun and deliver the tray',
         '(put|place) bun, cup and jar on the tray, put the cover over the bun, bring the tray to '
         'the counter'),
        ('(set|prepare) the tray with everything, keep the bun covered, and serve it at the '
         'counter',)),
}


def expand(template: str) -> list[str]:
    """Return every sentence of a template, the first choices first."""
    parts = _CHOICE.split(template)
    options = [part.split('|') if index % 2 else [part] for index, part in enumerate(parts)]
    return [''.join(words) for words in itertools.product(*options)]


@lru_cache
def phrases(task: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return a task's instruction, its paraphrases for training and those held out."""
    own = TEMPLATES[task]
    first, *others = [text for template in own.training for text in expand(template)]
    return first, tuple(others), tuple(
        text for template in own.held_out for text in expand(template))


def tasks_yaml() -> str:
    """Return the text of config/tasks/suite.yaml."""
    lines = ['# SPDX-License-Identifier: Apache-2.0',
             '# The eight tasks of the suite (docs/suite.md). Written by',
             '# python -m lwd_sim.suite_instructions; `paraphrases` may be seen in training,',
             '# `held_out` never is; `stages` are scored 1 / 0.5 / 0. Times in seconds of robot '
             'time.', 'tasks:']
    for name, task in SUITE.items():
        instruction, paraphrases, held_out = phrases(name)
        lines += [f'  {name}:', f'    instruction: {instruction}',
                  f'    time_limit: {task.time_limit / CONTROL_RATE:.1f}']
        lists = {'paraphrases': paraphrases, 'stages': task.stages, 'held_out': held_out}
        for key, texts in lists.items():
            if texts:
                lines += [f'    {key}:', *(f'      - {text}' for text in texts)]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    print(tasks_yaml(), end='')
