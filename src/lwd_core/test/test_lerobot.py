# SPDX-License-Identifier: Apache-2.0
"""lerobot's flow policies behind FlowPolicy, on tiny configurations with random weights.

Two parts. The conventions (flow time, sign, padding, caches) are tested everywhere on a stand-in
that samples as lerobot does. The real SmolVLA, pi0 and pi0.5 are tested where lerobot is
installed: it pins an older torch than ours, so that needs an environment of its own (Python 3.12
for lerobot 0.6, which these pass with), e.g.

    uv venv --python 3.12 /tmp/lerobot
    uv pip install --python /tmp/lerobot/bin/python 'lerobot[smolvla,pi]' pytest
    PYTHONPATH=src/lwd_core /tmp/lerobot/bin/python -m pytest src/lwd_core/test/test_lerobot.py

(pi0 and pi0.5 of lerobot 0.4 also need its fork of transformers; 0.5 and later do not.)
"""

from importlib.util import find_spec
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lwd_core.flow.lerobot import LeRobotFlow
from lwd_core.normalization import NormalizationError, Normalizer

HORIZON, DIM, PADDED, BATCH, STEPS = 5, 3, 8, 2, 4


class StandInModel(nn.Module):
    """Samples as lerobot's models do, and appends to the cache it is given as some of them do."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(PADDED + 2, PADDED)

    def denoise_step(self, prefix_pad_masks, past_key_values, x_t, timestep):
        past_key_values.append(x_t)
        assert len(past_key_values) == 1, 'the cache of the prefix has grown'
        extra = torch.stack((timestep, prefix_pad_masks.sum(1)), -1)[:, None]
        return torch.tanh(self.mix(torch.cat((x_t, extra.expand(-1, HORIZON, -1)), -1)))

    def sample_actions(self, masks, noise=None):
        x = torch.zeros(len(masks), HORIZON, PADDED) if noise is None else noise
        for i in range(STEPS):
            time = torch.full((len(masks),), 1.0 - i / STEPS)
            x = x - self.denoise_step(
                x_t=x, prefix_pad_masks=masks, past_key_values=[], timestep=time) / STEPS
        return x


class StandInPolicy(nn.Module):
    name = 'smolvla'

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(chunk_size=HORIZON, max_action_dim=PADDED, num_steps=STEPS,
                                      action_feature=SimpleNamespace(shape=(DIM,)))
        self.model = StandInModel()

    def predict_action_chunk(self, batch, noise=None):
        return self.model.sample_actions(batch['mask'], noise)[..., :DIM]


def statistics(dim=DIM):
    return Normalizer.from_data(np.random.default_rng(0).normal(1, 2, (50, dim)))


def noise(dim=PADDED):
    return torch.randn(BATCH, HORIZON, dim, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def stand_in():
    torch.manual_seed(0)
    return LeRobotFlow(StandInPolicy(), statistics()), {'mask': torch.ones(BATCH, 4)}


def check_against_their_sampler(flow, batch, theirs):
    """Our Euler steps over `velocity` must give what their own sampler gives, step for step."""
    prefix = flow.encode(batch)
    ours = flow.sample(prefix, noise(flow.padded_dim), STEPS)
    assert torch.allclose(flow.normalize_action(ours), theirs, atol=1e-5)
    again = flow.sample(prefix, noise(flow.padded_dim), STEPS)
    assert torch.equal(again, ours), 'the prefix was changed by using it'


def check_velocity(flow, batch):
    """Flow time, shapes, padding, and gradients that reach the chunk."""
    prefix, w = flow.encode(batch), torch.full((BATCH,), 0.3)
    x = noise(flow.padded_dim).requires_grad_()
    full = flow.velocity(prefix, x, w)
    assert full.shape == x.shape
    part = flow.velocity(prefix, x[..., :flow.action_dim], w)
    assert part.shape == (BATCH, flow.horizon, flow.action_dim)
    zeroed = x * ~flow.padding
    assert torch.allclose(part, flow.velocity(prefix, zeroed, w)[..., :flow.action_dim], atol=1e-6)
    assert not torch.allclose(full, flow.velocity(prefix, x, 1 - w), atol=1e-6)
    gradient, = torch.autograd.grad(full[..., :flow.action_dim].sum(), x)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_their_sampler_and_ours_agree(stand_in):
    flow, batch = stand_in
    theirs = flow.policy.predict_action_chunk(batch, noise=noise())
    check_against_their_sampler(flow, batch, theirs)


def test_velocity_is_theirs_with_time_and_sign_turned(stand_in):
    flow, batch = stand_in
    x, w = noise(), torch.tensor([0.25, 0.75])
    theirs = flow.policy.model.denoise_step(batch['mask'], [], x, 1 - w)
    assert torch.allclose(flow.velocity(flow.encode(batch), x, w), -theirs, atol=1e-7)
    check_velocity(flow, batch)


def test_their_model_is_left_as_it_was(stand_in):
    flow, batch = stand_in
    flow.encode(batch)
    assert 'denoise_step' not in flow.policy.model.__dict__
    assert flow.padding.tolist() == [False] * DIM + [True] * (PADDED - DIM)


def test_what_does_not_fit_is_refused_with_both_numbers(stand_in):
    flow, batch = stand_in
    with pytest.raises(ValueError, match='5 columns, must have 3 or 8'):
        flow.velocity(flow.encode(batch), noise(5), torch.zeros(BATCH))
    with pytest.raises(NormalizationError, match='4 dimensions, the policy 3'):
        LeRobotFlow(StandInPolicy(), statistics(4))
    with pytest.raises(ValueError, match="'act' is not one of"):
        LeRobotFlow(StandInPolicy(), statistics(), kind='act')


lerobot = pytest.mark.skipif(
    find_spec('lerobot') is None,
    reason='lerobot pins an older torch: test it in an environment of its own, see the docstring')


def features():
    from lerobot.configs.types import FeatureType, PolicyFeature
    return dict(
        input_features={
            'observation.state': PolicyFeature(FeatureType.STATE, (DIM,)),
            'observation.images.head': PolicyFeature(FeatureType.VISUAL, (3, 32, 32))},
        output_features={'action': PolicyFeature(FeatureType.ACTION, (DIM,))}, device='cpu')


def lerobot_batch():
    rng = torch.Generator().manual_seed(3)
    return {'observation.state': torch.randn(BATCH, DIM, generator=rng),
            'observation.images.head': torch.rand(BATCH, 3, 32, 32, generator=rng),
            'observation.language.tokens': torch.randint(1, 50, (BATCH, 6), generator=rng),
            'observation.language.attention_mask': torch.ones(BATCH, 6, dtype=torch.bool)}


def tiny_smolvla(monkeypatch):
    from lerobot.policies.smolvla import smolvlm_with_expert as module
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
    from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig
    config = SmolVLMConfig(
        text_config=dict(model_type='llama', hidden_size=32, intermediate_size=64, head_dim=8,
                         num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         vocab_size=64, pad_token_id=0),
        vision_config=dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                           num_attention_heads=2, image_size=32, patch_size=8),
        scale_factor=2, image_token_id=60, pad_token_id=0)
    tokens = SimpleNamespace(fake_image_token_id=61, global_image_token_id=62)
    monkeypatch.setattr(module.AutoConfig, 'from_pretrained', lambda *a, **k: config)
    monkeypatch.setattr(module.AutoProcessor, 'from_pretrained',
                        lambda *a, **k: SimpleNamespace(tokenizer=tokens))
    return SmolVLAPolicy(SmolVLAConfig(
        chunk_size=HORIZON, n_action_steps=HORIZON, max_state_dim=PADDED, max_action_dim=PADDED,
        num_steps=STEPS, resize_imgs_with_padding=(32, 32), num_vlm_layers=2,
        self_attn_every_n_layers=2, load_vlm_weights=False, **features()))


def tiny_pi(monkeypatch, name):
    module = pytest.importorskip(f'lerobot.policies.{name}.modeling_{name}')
    configuration = pytest.importorskip(f'lerobot.policies.{name}.configuration_{name}')
    kind = name.upper()
    small = SimpleNamespace(width=32, depth=2, mlp_dim=64, num_heads=2, num_kv_heads=1, head_dim=16)
    mapping = module.CONFIG_MAPPING

    def paligemma():
        made = mapping['paligemma']()
        vision = made.vision_config
        vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads = 32, 1, 2
        vision.patch_size = 8
        return made
    monkeypatch.setattr(module, 'CONFIG_MAPPING',
                        {'paligemma': paligemma, 'gemma': mapping['gemma']})
    monkeypatch.setattr(module, 'get_gemma_config', lambda variant: small)
    config = getattr(configuration, f'{kind}Config')(
        chunk_size=HORIZON, n_action_steps=HORIZON, max_state_dim=PADDED, max_action_dim=PADDED,
        num_inference_steps=STEPS, image_resolution=(32, 32), **features())
    try:
        policy = getattr(module, f'{kind}Policy')(config)
    except ValueError as error:
        if 'transformer' not in str(error):
            raise
        pytest.skip(f'{name} of this lerobot needs its fork of transformers: {error}')
    # Their width of the projected image is a constant, whatever the language model's is.
    model = policy.model.paligemma_with_expert.paligemma.model
    projector = model.multi_modal_projector
    projector.linear = nn.Linear(projector.linear.in_features, small.width)
    return policy


def make(monkeypatch, name):
    torch.manual_seed(0)
    policy = tiny_smolvla(monkeypatch) if name == 'smolvla' else tiny_pi(monkeypatch, name)
    policy = policy.float().eval().requires_grad_(False)
    for weights in policy.parameters():
        if not weights.any():  # pi0.5's adaptive norms begin at zero, deaf to the flow time
            nn.init.normal_(weights, std=0.2)
    return LeRobotFlow(policy, statistics())


@lerobot
@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_a_real_policy_samples_as_its_own_sampler(monkeypatch, name):
    flow, batch = make(monkeypatch, name), lerobot_batch()
    theirs = flow.policy.predict_action_chunk(dict(batch), noise=noise())
    check_against_their_sampler(flow, batch, theirs)
    check_velocity(flow, batch)


@lerobot
@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_a_real_policys_prefix_depends_on_what_is_seen(monkeypatch, name):
    flow, batch = make(monkeypatch, name), lerobot_batch()
    x, w = noise(), torch.full((BATCH,), 0.5)
    before = flow.velocity(flow.encode(batch), x, w)
    other = {**batch, 'observation.images.head': 1 - batch['observation.images.head']}
    assert not torch.allclose(flow.velocity(flow.encode(other), x, w), before, atol=1e-7)
    assert 'lerobot' in sys.modules
