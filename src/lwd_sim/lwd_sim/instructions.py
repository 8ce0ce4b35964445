# SPDX-License-Identifier: Apache-2.0
"""The instruction of each task in the simulated cell; config/tasks/*.yaml hold the same."""
from lwd_sim.suite_instructions import phrases

INSTRUCTIONS = {
    'place': 'put the milk on the lower shelf on the left',
    'crate': 'lift the crate with both arms and set it on the lower shelf',
    'handover': ('pick up the pasta with the left arm, hand it to the right arm and put it on '
                 'the lower shelf'),
}


def instruction_of(task: str) -> str:
    """Return a task's own instruction; raise KeyError for a task that does not exist."""
    return INSTRUCTIONS[task] if task in INSTRUCTIONS else phrases(task)[0]
