# SPDX-License-Identifier: Apache-2.0
"""The resume state comes back equal to the last bit, or not at all."""

import pytest
import torch

from lwd_learner.state_io import load_state, save_state, StateError


def test_optimiser_and_generator_survive_exactly(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    generator = torch.Generator().manual_seed(7)
    state = {'model': model.state_dict(), 'optimiser': optimiser.state_dict(),
             'rng': generator.get_state(), 'step': 3, 'big': 2 ** 127 + 1, 'none': None,
             'pair': (1, [2.5, 'x', True])}
    save_state(tmp_path / 'state', state)
    again = load_state(tmp_path / 'state')
    assert again['optimiser']['param_groups'] == optimiser.state_dict()['param_groups']
    assert list(again['optimiser']['state']) == [0, 1]
    assert torch.equal(again['optimiser']['state'][0]['exp_avg'],
                       optimiser.state_dict()['state'][0]['exp_avg'])
    assert torch.equal(again['model']['weight'], model.weight)
    assert torch.equal(again['rng'], generator.get_state())
    assert (again['big'], again['none']) == (2 ** 127 + 1, None)
    assert again['pair'] == (1, [2.5, 'x', True])


def test_damaged_state_is_named(tmp_path):
    (tmp_path / 'state').write_bytes(b'half a fi')
    with pytest.raises(StateError, match='state: not a resume state'):
        load_state(tmp_path / 'state')


def test_what_cannot_be_saved_leaves_the_old_state(tmp_path):
    save_state(tmp_path / 'state', {'step': 1})
    with pytest.raises(StateError, match='object'):
        save_state(tmp_path / 'state', {'step': object()})
    assert load_state(tmp_path / 'state') == {'step': 1}
