# SPDX-License-Identifier: Apache-2.0
"""lerobot's flow policies (SmolVLA, pi0, pi0.5) behind FlowPolicy. Imports no lerobot.

lerobot's flow time runs from 1 (noise) to 0 (action), and its network predicts noise - action; ours
runs from 0 to 1 and is action - noise. So v_ours(x, w) = -v_theirs(x, 1 - w): one Euler step of
theirs, x + (-h) v, is one of ours.

The prefix is whatever their own sampler hands to its `denoise_step` beside the chunk and the time:
it is taken from there, so that image embedding, masks and caches stay theirs in every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn, Tensor

from lwd_core.flow.sampler import euler
from lwd_core.normalization import NormalizationError, Normalizer

KINDS = ('smolvla', 'pi0', 'pi05')
NOT_PREFIX = ('x_t', 'timestep')
Inputs = Callable[[Mapping[str, Any]], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Prefix:
    """What `denoise_step` needs beside the chunk and the time: masks, cached keys and values."""

    arguments: dict[str, Any]


class LeRobotFlow(nn.Module):
    """A lerobot policy (`SmolVLAPolicy`, `PI0Policy`, `PI05Policy`) as a velocity field.

    Chunks may have `action_dim` columns, the robot's, or `padded_dim`, the network's. With
    the robot's the padded ones are taken at their mean, 0; the exact flow needs all of them.
    """

    def __init__(self, policy: nn.Module, action: Normalizer, kind: str | None = None) -> None:
        """Wrap `policy`; `action` holds the statistics that its training data were scaled by."""
        super().__init__()
        config: Any = policy.config
        self.kind = kind or str(getattr(policy, 'name', ''))
        if self.kind not in KINDS:
            raise ValueError(f'lerobot policy {self.kind!r} is not one of {KINDS}')
        self.policy, self._norm = policy, action
        self.horizon = int(config.chunk_size)
        self.padded_dim = int(config.max_action_dim)
        self.action_dim = int(config.action_feature.shape[0])
        self.max_delay = 0
        if action.size != self.action_dim:
            raise NormalizationError(f"normalisation of 'action' has {action.size} dimensions, "
                                     f'the policy {self.action_dim}')

    @property
    def padding(self) -> Tensor:
        """Return a mask [padded_dim]: True where a dimension is padding (losses, adjoints)."""
        return torch.arange(self.padded_dim) >= self.action_dim

    def encode(self, batch: Mapping[str, Any]) -> Prefix:
        """Return the prefix of a batch as lerobot's own preprocessor makes it; once per state."""
        seen: dict[str, Any] = {}

        def note(*_: Any, x_t: Tensor, **arguments: Any) -> Tensor:
            seen.update(arguments)
            return torch.zeros_like(x_t)
        model: Any = self.policy.model
        model.__dict__['denoise_step'] = note  # shadows the method for one call
        try:
            with torch.no_grad():
                self.policy.predict_action_chunk(dict(batch))  # type: ignore[operator]
        finally:
            del model.__dict__['denoise_step']
        if not seen:
            raise ValueError(f'lerobot policy {self.kind}: its sampler did not call denoise_step: '
                             'this version of lerobot is not known')
        return Prefix({key: value for key, value in seen.items() if key not in NOT_PREFIX})

    def velocity(self, prefix: Prefix, x: Tensor, w: Tensor) -> Tensor:
        """Return dx/dw [B, H, d or D] at normalised `x` of that shape and flow time `w` [B]."""
        padded = self._pad(x)
        arguments = dict(prefix.arguments)
        # Some versions append to the cache that they are given.
        arguments['past_key_values'] = _cloned(arguments.get('past_key_values'))
        model: Any = self.policy.model
        theirs = model.denoise_step(x_t=padded, timestep=1.0 - w.to(torch.float32), **arguments)
        return -theirs[..., :x.shape[-1]].to(x.dtype)

    def sample(self, prefix: Prefix, noise: Tensor, steps: int = 10) -> Tensor:
        """Integrate `noise` [B, H, d or D] to chunks [B, H, d] in robot units with Euler steps."""
        x = euler(lambda x, w: self.velocity(prefix, x, w), self._pad(noise), steps)
        return self.unnormalize_action(x[..., :self.action_dim])

    def normalize_action(self, action: Tensor) -> Tensor:
        """Map [..., d] from robot units to normalised units."""
        normalized: Tensor = self._norm.normalize(action)
        return normalized

    def unnormalize_action(self, x: Tensor) -> Tensor:
        """Map [..., d] from normalised units to robot units."""
        action: Tensor = self._norm.unnormalize(x)
        return action

    def config(self) -> dict[str, Any]:
        """Return the kind and sizes; lerobot's own configuration travels with its checkpoint."""
        return {'kind': f'lerobot_{self.kind}', 'horizon': self.horizon,
                'action_dim': self.action_dim, 'padded_dim': self.padded_dim}

    def normalization(self) -> dict[str, Any]:
        """Return the normalisers as JSON data."""
        return {'action': self._norm.to_json()}

    def _pad(self, x: Tensor) -> Tensor:
        if x.shape[-1] not in (self.action_dim, self.padded_dim):
            raise ValueError(f'lerobot policy {self.kind}: chunk has {x.shape[-1]} columns, must '
                             f'have {self.action_dim} or {self.padded_dim}')
        return nn.functional.pad(x, (0, self.padded_dim - x.shape[-1]))


def _cloned(cache: Any) -> Any:
    """Return a cache that may be appended to; its tensors are shared where that is safe."""
    if cache is None or isinstance(cache, dict):  # SmolVLA's: read, never written
        return cache
    return copy.deepcopy(cache)
