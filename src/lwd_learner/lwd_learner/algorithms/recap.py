# SPDX-License-Identifier: Apache-2.0
"""RECAP: a Monte-Carlo value, an advantage sign, and a policy conditioned on it.

Value = minus the steps to success, scaled per task to (-1, 0), as a law over 201 bins read by its
mean. A step is 'positive' when its advantage over a 50-step look-ahead is above the task's
threshold (about 40 % are) or when a person made it. The policy sees the sign, dropped 30 % of the
time, and acts on 'positive'.

The value and the signs are learned side by side: a task's threshold is the quantile of its last
`window` advantages [our choice; the paper computes it once the value is trained].
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lwd_core.flow import Batch, FlowNetwork, make_policy
from lwd_learner.algorithms import divl
from lwd_learner.algorithms.critics import CriticConfig, mlp, ObservationNet
from lwd_learner.algorithms.dagger import SOURCE_HUMAN
from lwd_learner.algorithms.divl import DivlConfig
from lwd_learner.algorithms.figures import by_outcome_and_source
from lwd_learner.algorithms.optim import adam, step

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RecapConfig:
    """Constants of RECAP."""

    bins: int = 201
    look_ahead: int = 50  # control steps
    positive_share: float = 0.4
    drop: float = 0.3
    window: int = 4096  # advantages of a task that its threshold is taken from

    @property
    def law(self) -> DivlConfig:
        """Return the support of the value's law: `bins` atoms on [-1, 0]."""
        return DivlConfig(atoms=self.bins, low=-1.0, high=0.0)

    def __post_init__(self) -> None:
        if not (0 < self.positive_share < 1 and 0 <= self.drop < 1 and self.look_ahead >= 1):
            raise ValueError('RECAP: positive_share and drop are shares, look_ahead >= 1')


def returns(length: int, success: bool, limit: int) -> Floats:
    """Return the value targets [T] of one episode: -(steps left) / limit, -1 all over a failure."""
    if not success:
        return np.full(length, -1, np.float32)
    steps = np.arange(length - 1, -1, -1, dtype=np.float32)
    return np.maximum(-steps / limit, -1).astype(np.float32)


def advantages(value: Floats, target: Floats, look_ahead: int) -> Floats:
    """Return A_t = (G_t - G_{t+k}) + V(s_{t+k}) - V(s_t), or G_t - V(s_t) near the end; [T]."""
    ahead = np.arange(len(value)) + look_ahead
    inside = ahead < len(value)
    ahead = np.minimum(ahead, len(value) - 1)
    bootstrapped = target - target[ahead] + value[ahead]
    result: Floats = (np.where(inside, bootstrapped, target) - value).astype(np.float32)
    return result


def threshold(advantage: Floats, share: float) -> float:
    """Return the level that `share` of a task's advantages exceed."""
    return float(np.quantile(advantage, 1 - share))


def signs(advantage: Floats, level: float, human: npt.NDArray[np.bool_]) -> Floats:
    """Return +1 where the advantage is above `level` or a person acted, else -1; [T]."""
    return np.where(human | (advantage > level), 1, -1).astype(np.float32)


def drop_signs(sign: Tensor, drop: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero a share `drop` of the conditioning signs [B, 1]: the unconditioned mode."""
    keep = torch.rand(sign.shape, generator=generator) >= drop
    return sign * keep.to(sign.dtype)


class RecapValue(ObservationNet):
    """The value network: observation to logits over the bins."""

    def __init__(self, policy: FlowNetwork, config: CriticConfig, bins: int):
        """Take input sizes and normalisation from `policy`, widths from `config`."""
        super().__init__(policy, config.hidden, config.input_noise)
        self.value = mlp(config.hidden, config.hidden, config.layers, bins, config.dropout)

    def logits(self, batch: Batch) -> Tensor:
        """Return the law's logits [B, bins] at observations."""
        logits: Tensor = self.value(self.encode(batch))
        return logits


class RecapCritic:
    """Learns the value and says which transitions are positive.

    A batch carries, beside the observations, 'return' [B] (`returns`), 'ahead' (observations
    `look_ahead` steps on), 'return_ahead' and 'inside' [B] (those steps end inside the episode),
    'source' and 'task' [B]: `ReplayBuffer.look_ahead`.
    """

    def __init__(self, policy: FlowNetwork, config: RecapConfig, critic: CriticConfig) -> None:
        self.config, self.law, self._clip = config, config.law, critic.gradient_clip
        self.value = RecapValue(policy, critic, config.bins)
        self.optimizer = adam(self.value.parameters(), critic.learning_rate, critic.weight_decay)
        self._advantages: dict[int, deque[float]] = {}

    def learn(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step of the value towards the Monte-Carlo targets; return metrics."""
        self.value.train()
        logits = self.value.logits(batch)
        target = batch['return']
        loss = divl.value_loss(logits, target, self.law)
        norm = step(self.optimizer, loss, self._clip)
        v = self._mean(logits.detach())
        return {'value_loss': float(loss.detach()), 'value_gradient': norm,
                'value_mean': float(v.mean()), 'sample_loss': (v - target) ** 2,
                **{name: x for name, x in by_outcome_and_source(batch, v, v).items()
                   if name.startswith('v_')}}

    @torch.no_grad()
    def signs(self, batch: dict[str, Any]) -> Tensor:
        """Return +1 or -1 [B, 1] for each transition, and remember its advantage."""
        self.value.eval()
        now = self._mean(self.value.logits(batch)).numpy()
        ahead = self._mean(self.value.logits(batch['ahead'])).numpy()
        inside = batch['inside'].numpy()
        target, later = batch['return'].numpy(), batch['return_ahead'].numpy()
        advantage = np.where(inside, target - later + ahead, target) - now
        tasks = batch['task'].numpy()
        human = batch['source'].numpy() == SOURCE_HUMAN
        sign = np.ones(len(now), np.float32)
        for task in np.unique(tasks).tolist():
            rows = tasks == task
            window = self._advantages.setdefault(task, deque(maxlen=self.config.window))
            window.extend(advantage[rows].tolist())
            level = threshold(np.array(window, np.float32), self.config.positive_share)
            sign[rows] = signs(advantage[rows], level, human[rows])
        return torch.from_numpy(sign[:, None])

    @torch.no_grad()
    def report(self, inputs: Batch) -> dict[str, Tensor]:
        """Return the value's law at observations: 'probs' [B, bins] and 'mean' [B] in (-1, 0)."""
        self.value.eval()
        probs = self.value.logits(inputs).softmax(-1)
        mean = probs @ divl.support(self.law, probs)
        return {'probs': probs, 'mean': mean, 'quantile': mean,
                'entropy': divl.normalized_entropy(probs)}

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser and the windows."""
        return {'value': self.value.state_dict(), 'optimizer': self.optimizer.state_dict(),
                'advantages': [[task, list(window)] for task, window in self._advantages.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.value.load_state_dict(state['value'])
        self.optimizer.load_state_dict(state['optimizer'])
        self._advantages = {task: deque(window, maxlen=self.config.window)
                            for task, window in state['advantages']}

    def _mean(self, logits: Tensor) -> Tensor:
        probs = logits.softmax(-1)
        return probs @ divl.support(self.law, probs)


def conditioned(policy: FlowNetwork) -> FlowNetwork:
    """Return a policy that takes the advantage sign and acts as `policy` whatever the sign is."""
    config = policy.config()
    if config.get('advantage'):
        return policy
    wider = make_policy({**config, 'advantage': True}, policy.normalization())
    assert isinstance(wider, FlowNetwork)
    weights = policy.state_dict()
    first = weights['encoder.0.weight']  # the sign is the last input
    weights['encoder.0.weight'] = torch.cat((first, torch.zeros_like(first[:, :1])), 1)
    wider.load_state_dict(weights)
    return wider

