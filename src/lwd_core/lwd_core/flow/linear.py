# SPDX-License-Identifier: Apache-2.0
"""A linear layer whose larger float32 products on a CPU run through oneDNN.

torch's own go through MKL, which on processors of other makers than its own leaves half of AVX-512
unused (AMD EPYC, one core: 94 against 205 GFLOP/s). oneDNN is part of torch; its linear operator is
the one that torch.compile uses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, Tensor
from torch.autograd.function import once_differentiable

MIN_ROWS = 32
MIN_PRODUCTS = 1 << 20  # rows x in x out: below, what one call costs is more than it saves


def _operator() -> Any:
    """Return oneDNN's linear, or None where this build or processor does better without."""
    known = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')
    if not known or not torch.backends.cpu.get_cpu_capability().startswith('AVX512'):
        return None
    return torch.ops.mkldnn._linear_pointwise.default


_ONEDNN = _operator()


def available() -> bool:
    """Say whether products go through oneDNN on this machine."""
    return _ONEDNN is not None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [..., in] times weight^T [out, in], plus bias [out]: torch's linear, once
    differentiable where it is large.

    Small products, other types than float32, autocast, graphs that are being compiled or exported
    and other devices are torch's own.
    """
    if torch.compiler.is_compiling() or not _large(x, weight):
        return nn.functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        product: Tensor = _Linear.apply(x, weight, bias)
        return product
    return _multiply(x, weight, bias)


class Linear(nn.Linear):
    """nn.Linear by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return linear(x, self.weight, self.bias)


def _large(x: Tensor, weight: Tensor) -> bool:
    rows = x.numel() // weight.shape[1]
    return (_ONEDNN is not None and rows >= MIN_ROWS and rows * weight.numel() >= MIN_PRODUCTS
            and x.dtype is torch.float32 and weight.dtype is torch.float32
            and x.device.type == 'cpu' and not torch.is_autocast_enabled('cpu'))


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = _ONEDNN(x, weight, bias, 'none', [], '')
    return product


class _Linear(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _multiply(gradient, weight.t(), None)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            gradient = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[1]:
            to_weight = _multiply(gradient.t(), x.reshape(-1, x.shape[-1]).t(), None)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(0)
        return to_x, to_weight, to_bias
