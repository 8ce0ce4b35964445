# SPDX-License-Identifier: Apache-2.0
"""What a robot is asked to do: tasks with instruction, paraphrases, stages and time limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lwd_core.spec import check_name, check_unique, Fields, load_yaml, SpecError

__all__ = ['SpecError', 'TaskSpec', 'load_tasks', 'require_task']


@dataclass(frozen=True)
class TaskSpec:
    """One task. `paraphrases` are seen in training, `held_out` only in evaluation."""

    name: str
    instruction: str
    time_limit: float  # s
    paraphrases: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()  # sub-steps a person may score 1 / 0.5 / 0; empty for binary tasks
    held_out: tuple[str, ...] = ()

    @property
    def training_instructions(self) -> tuple[str, ...]:
        """Return every instruction the learner may see, the task's own first."""
        return (self.instruction, *self.paraphrases)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` reads back equal, but for the name."""
        data = {key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(self).items()}
        del data['name']
        return data

    @classmethod
    def from_dict(cls, name: str, data: Any, where: str = 'task') -> TaskSpec:
        """Validate plain data; `where` names its origin in errors."""
        fields = Fields(data, where)
        task = cls(
            name=name,
            instruction=fields.text('instruction'),
            time_limit=fields.number('time_limit', above=0.0),
            paraphrases=_texts(fields, 'paraphrases'),
            stages=_texts(fields, 'stages'),
            held_out=_texts(fields, 'held_out'),
        )
        fields.done()
        check_unique((*task.training_instructions, *task.held_out), f'{where}: instructions')
        return task


def load_tasks(path: str | Path) -> dict[str, TaskSpec]:
    """Read a task file: a mapping `tasks` from name to instruction, time limit and paraphrases."""
    fields = Fields(load_yaml(path), str(path))
    given = fields.take('tasks')
    fields.done()
    if not isinstance(given, Mapping) or not given:
        raise fields.error('tasks', f'is {given!r}, must map at least one task name to its task')
    tasks: dict[str, TaskSpec] = {}
    for name, data in given.items():
        where = f'{path}: tasks: {name}'
        tasks[check_name(name, where)] = TaskSpec.from_dict(name, data, where)
    return tasks


def require_task(tasks: Mapping[str, TaskSpec], name: str, where: str) -> TaskSpec:
    """Return the task `name`; raise SpecError naming who asked and which tasks there are."""
    if name not in tasks:
        raise SpecError(f'{where}: unknown task {name!r}, tasks are {", ".join(sorted(tasks))}')
    return tasks[name]


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    items = fields.sequence(key, [])
    one_by_one = Fields({str(i): item for i, item in enumerate(items)}, f'{fields.where}: {key}')
    return tuple(one_by_one.text(str(i)) for i in range(len(items)))
