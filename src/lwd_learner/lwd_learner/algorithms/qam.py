# SPDX-License-Identifier: Apache-2.0
"""QAM: Q-learning with adjoint matching.

Tilts a flow policy to pi(a|s) ~ pi_ref(a|s) exp(beta Q(s, a)) by regression along paths of the
memoryless SDE with the flow's marginals, dX = (2 f - X/w) dw + sigma dB, sigma^2 = 2 (1-w)/w:

    g_1 = -beta grad_a Q(s, x_1),   dg/dw = -(d(2 f_ref - x/w)/dx)^T g   (lean adjoint)
    loss = sum over steps of |2 (f - f_ref)/sigma + sigma g|^2           (x, g, f_ref detached)

whose pointwise optimum is f = f_ref - sigma^2 g / 2. All chunks here are normalised, float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (x [B, ...], w [B]) -> dx/dw [B, ...]
PATHS = ('policy', 'reference')
ROBUST = ('none', 'drop', 'clip')
PRECISIONS = ('float32', 'bfloat16')


@dataclass(frozen=True)
class QamConfig:
    """Constants of QAM; paper values, robust options off."""

    steps: int = 10  # below 10 the tilt collapses
    beta: float = 0.5  # 1/lambda, lambda = 2 printed: a mild tilt for Q in [0, 1]
    path_source: str = 'policy'  # exact; 'reference' is the LWD text's, not exact
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    robust: str = 'none'  # per-sample defence against heavy-tailed adjoints
    robust_share: float = 0.1  # 'drop': leave out this share of the worst samples
    robust_norm: float = 1.0  # 'clip': bound on |g_1| per sample, in multiples of the median
    action_clip: float = 5.0  # normalised actions are clipped to this before Q sees them
    padded_dims: int = 0  # last action dimensions that mean nothing: no adjoint, no loss there
    precision: str = 'float32'  # of the networks; states, adjoints and residuals stay float32

    def __post_init__(self) -> None:
        for name, known in (('path_source', PATHS), ('robust', ROBUST),
                            ('precision', PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f'QAM {name} {getattr(self, name)!r} is not one of {known}')
        if self.steps < 2 or self.beta < 0 or not 0 <= self.robust_share < 1:
            raise ValueError('QAM: steps >= 2, beta >= 0, 0 <= robust_share < 1 are needed')
        if self.padded_dims < 0:
            raise ValueError(f'QAM padded_dims = {self.padded_dims} must be >= 0')


@dataclass(frozen=True)
class Paths:
    """States of SDE paths: `x` [N + 1, B, ...] at w_i = i / N; the last is the action."""

    x: Tensor
    h: float


def variance(w: Tensor | float, h: float) -> Tensor | float:
    """Return the grid's sigma_i^2 = 2 (1 - w_i + h) / (w_i + h)."""
    return 2 * (1 - w + h) / (w + h)


def rollout(path: Field, reference: Field, noise: Tensor, steps: int,
            generator: torch.Generator | None = None) -> Paths:
    """Roll the memoryless SDE of `path` from `noise` [B, ...].

    The last step is an Euler step of the reference's ODE: sigma vanishes at w = 1.
    """
    with torch.no_grad():
        return _roll(path, reference, noise, steps, generator)[0]


def _roll(path: Field, reference: Field, noise: Tensor, steps: int,
          generator: torch.Generator | None) -> tuple[Paths, list[Tensor], Tensor]:
    """Return the paths, the fields of `path` at the first N - 1 states, and f_ref at the last one.

    Every state is detached: a field's graph reaches its own evaluation only, so that what was
    computed on the way is what the loss needs.
    """
    h, x = 1.0 / steps, noise.detach()
    states, fields = [x], []
    for i in range(steps - 1):
        velocity = path(x, _time(x, i * h))
        fields.append(velocity)
        x = sde_step(x, velocity.detach(), i * h, h, generator)
        states.append(x)
    with torch.no_grad():
        last = reference(x, _time(x, 1 - h))
    states.append(x + h * last)
    return Paths(torch.stack(states), h), fields, last


def _time(x: Tensor, w: float) -> Tensor:
    """Return `w` for every sample of `x`: [B], expanded from one number, which networks may use."""
    return x.new_full((1,), w).expand(len(x))


def sde_step(x: Tensor, velocity: Tensor, w: float, h: float,
             generator: torch.Generator | None) -> Tensor:
    """Return x at w + h: drift 2 f - x / (w + h), noise of the grid's variance."""
    eps = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return x + h * (2 * velocity - x / (w + h)) + (h * float(variance(w, h))) ** 0.5 * eps


def lean_adjoint(reference: Field, paths: Paths, terminal: Tensor) -> Tensor:
    """Carry `terminal` = g at w = 1 [B, ...] back along paths: g_i for i < N, [N, B, ...].

    One vector-Jacobian product of the reference per step, for all samples at once.
    """
    h, g = paths.h, terminal.detach()
    adjoints: list[Tensor] = []
    for i in reversed(range(len(paths.x) - 1)):
        end = (i + 1) * h  # the Jacobian is taken at (x_i, w_i + h)
        x = paths.x[i].detach().requires_grad_(True)
        with torch.enable_grad():
            field = reference(x, _time(x, end))
        product, = torch.autograd.grad(field, x, g)
        g = g + h * (2 * product - g / end)
        adjoints.append(g)
    return torch.stack(adjoints[::-1])


def terminal_adjoint(q: Callable[[Tensor], Tensor], action: Tensor, config: QamConfig) -> Tensor:
    """Return g_1 = -beta grad_a Q at the clipped normalised `action` [B, ..., d].

    It is 0 where the action is clipped, and on padded dimensions.
    """
    action = action.detach().requires_grad_(True)
    with torch.enable_grad():
        value = q(action.clamp(-config.action_clip, config.action_clip)).sum()
    gradient, = torch.autograd.grad(value, action)
    return robust_clip(drop_padding(-config.beta * gradient, config), config)


def drop_padding(x: Tensor, config: QamConfig) -> Tensor:
    """Set the last `padded_dims` of `x` [..., d] to zero."""
    if not config.padded_dims:
        return x
    valid = torch.ones_like(x[..., :1]).expand(x.shape).clone()
    valid[..., -config.padded_dims:] = 0
    return x * valid


def robust_clip(g: Tensor, config: QamConfig) -> Tensor:
    """Bound |g| per sample by a multiple of the batch's median (robust = 'clip')."""
    if config.robust != 'clip':
        return g
    norm = g.flatten(1).norm(dim=1)
    bound = config.robust_norm * norm.median()
    scale = (bound / norm.clamp(min=1e-12)).clamp(max=1)
    return g * scale.view(-1, *[1] * (g.ndim - 1))


def target_field(reference: Tensor, g: Tensor, w: Tensor | float, h: float) -> Tensor:
    """Return the pointwise optimum f_ref - sigma^2 g / 2."""
    return reference - variance(w, h) * g / 2


def residuals(velocity: Tensor, anchor: Tensor, g: Tensor, h: float) -> Tensor:
    """Return 2 (f - f_ref)/sigma + sigma g for fields and adjoints [N, B, ...]; differentiable."""
    w = torch.arange(len(g), dtype=g.dtype, device=g.device) * h
    sigma = torch.as_tensor(variance(w, h)).sqrt().view(-1, *[1] * (g.ndim - 1))
    return 2 * (velocity - anchor) / sigma + sigma * g.detach()


def squared(residual: Tensor) -> Tensor:
    """Sum the squares of residuals [N, B, ...] over steps and dimensions: one per sample [B]."""
    return (residual ** 2).flatten(2).sum((0, 2))


def matching_errors(policy: Field, reference: Field, paths: Paths, g: Tensor) -> Tensor:
    """Return |2 (f - f_ref)/sigma + sigma g|^2 summed over steps, one per sample [B].

    All steps go through the networks in one batch; gradients reach `policy` only.
    """
    x, w = _grid_batch(paths, len(g))
    with torch.no_grad():
        anchor = reference(x, w)
    return squared(residuals(policy(x, w).view(g.shape), anchor.view(g.shape), g, paths.h))


def _grid_batch(paths: Paths, steps: int) -> tuple[Tensor, Tensor]:
    """Return the first `steps` states [steps * B, ...] as one batch, and their times."""
    x = paths.x[:steps].detach()
    w = torch.arange(steps, dtype=x.dtype, device=x.device) * paths.h
    return x.flatten(0, 1), w.repeat_interleave(x.shape[1])


def robust_mean(errors: Tensor, config: QamConfig) -> Tensor:
    """Average per-sample errors [B]; robust = 'drop' leaves out the worst share of them."""
    if config.robust != 'drop':
        return errors.mean()
    keep = max(1, round(len(errors) * (1 - config.robust_share)))
    return errors.topk(keep, largest=False).values.mean()


def qam_loss(policy: Field, reference: Field, q: Callable[[Tensor], Tensor], noise: Tensor,
             config: QamConfig, generator: torch.Generator | None = None
             ) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a batch of initial `noise` [B, H, d] and what to log.

    `policy` and `reference` are velocity fields with the prefix bound; `q` maps normalised chunks
    [B, H, d] to values [B].
    """
    policy, reference = (_cast(field, config, noise) for field in (policy, reference))
    paths, velocity, anchor = _paths(policy, reference, noise, config, generator)
    terminal = terminal_adjoint(q, paths.x[-1], config)
    g = drop_padding(lean_adjoint(reference, paths, terminal), config)
    # summed over dimensions as in the paper; scaled by their number so that the step size and
    # the clip mean the same for any chunk
    residual = drop_padding(residuals(velocity, anchor, g, paths.h), config)
    errors = squared(residual) / noise[0].numel()
    metrics = {'adjoint_median': terminal.flatten(1).norm(dim=1).median(),
               'adjoint_max': g.flatten(2).norm(dim=2).max(),
               'qam_error_median': errors.detach().median()}
    return robust_mean(errors, config), metrics


def _paths(policy: Field, reference: Field, noise: Tensor, config: QamConfig,
           generator: torch.Generator | None) -> tuple[Paths, Tensor, Tensor]:
    """Roll out; return paths, f [N, B, ...] with its graph and f_ref [N, B, ...] at its states.

    What rolling evaluated is not evaluated again: the policy's fields if the paths are its own,
    the reference's if they are the reference's.
    """
    steps, h = config.steps, 1.0 / config.steps
    shape = (steps, *noise.shape)
    if config.path_source == 'policy':
        paths, fields, last = _roll(policy, reference, noise, steps, generator)
        x = paths.x[steps - 1]
        fields.append(policy(x, _time(x, 1 - h)))
        with torch.no_grad():
            before = reference(*_grid_batch(paths, steps - 1))
        anchor = torch.cat((before.view(steps - 1, *noise.shape), last[None]))
        return paths, torch.stack(fields), anchor
    with torch.no_grad():
        paths, fields, last = _roll(reference, reference, noise, steps, generator)
    return paths, policy(*_grid_batch(paths, steps)).view(shape), torch.stack([*fields, last])


def _cast(field: Field, config: QamConfig, like: Tensor) -> Field:
    """Evaluate a field's network in the configured precision; what it returns is as `like`."""
    if config.precision == 'float32':
        return field

    def cast(x: Tensor, w: Tensor) -> Tensor:
        with torch.autocast(like.device.type, torch.bfloat16):
            return field(x, w).to(like.dtype)

    return cast
