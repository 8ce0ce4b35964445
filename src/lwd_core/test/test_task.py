# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from lwd_core.task import load_tasks, require_task, SpecError, TaskSpec

SIM = Path(__file__).parents[3] / 'config' / 'tasks' / 'sim.yaml'


def test_the_simulated_cells_tasks_have_distinct_instructions():
    tasks = load_tasks(SIM)
    assert {'place', 'crate', 'handover'} <= set(tasks)
    texts = [text for task in tasks.values()
             for text in (*task.training_instructions, *task.held_out)]
    assert len(texts) == len(set(texts))
    assert all(task.held_out and task.paraphrases for task in tasks.values())


@pytest.mark.parametrize(('text', 'needle'), [
    ('tasks: {}', 'tasks: is {}, must map'),
    ('tasks: {place: {time_limit: 5}}', 'tasks: place: instruction: is missing'),
    ('tasks: {place: {instruction: go, time_limit: -1}}', 'time_limit: is -1, must be a finite'),
    ('tasks: {place: {instruction: "", time_limit: 1}}', "instruction: is '', must be a text"),
    ('tasks: {place: {instruction: go, time_limit: 1, held_out: [go]}}', "'go' is given twice"),
    ('tasks: {place: {instruction: go, time_limit: 1, paraphrases: 3}}', 'must be a list'),
    ('tasks: {Place It: {instruction: go, time_limit: 1}}', 'must be lower case'),
    ('tasks: {place: {instruction: go, time_limit: 1, limit: 2}}', "unknown key 'limit'"),
    ('task: {}', 'tasks: is missing'),
])
def test_a_wrong_task_file_is_refused_with_file_key_value_and_bound(tmp_path, text, needle):
    path = tmp_path / 'tasks.yaml'
    path.write_text(text)
    with pytest.raises(SpecError, match=needle) as error:
        load_tasks(path)
    assert str(path) in str(error.value)


def test_an_unknown_task_is_refused_with_who_asked_and_what_there_is():
    with pytest.raises(SpecError, match="episode/start: unknown task 'fly', tasks are crate"):
        require_task(load_tasks(SIM), 'fly', 'episode/start')


def test_plain_data_round_trips():
    task = load_tasks(SIM)['crate']
    assert TaskSpec.from_dict('crate', task.to_dict()) == task
