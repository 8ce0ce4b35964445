# SPDX-License-Identifier: Apache-2.0
"""Products through oneDNN are torch's own, to float32's last bits, with their gradients."""

import pytest
import torch
from torch.nn import functional

from lwd_core.flow import linear as module
from lwd_core.flow.linear import Linear, linear

needs_onednn = pytest.mark.skipif(not module.available(), reason='this processor has no AVX-512')


def gradients(function, x, weight, bias, seed):
    tensors = [t.detach().requires_grad_(True) for t in (x, weight, bias)]
    out = function(*tensors)
    torch.manual_seed(seed)
    return out, torch.autograd.grad(out, tensors, torch.randn(out.shape))


def shapes():
    """Yield inputs that are large enough, contiguous or not."""
    torch.manual_seed(0)
    yield torch.randn(64, 300)
    yield torch.randn(128, 300)[::2]
    yield torch.randn(300, 64).t()
    yield torch.randn(64, 600)[:, 1:601:2]
    yield torch.randn(1, 300).expand(64, 300)
    yield torch.randn(4, 16, 300)
    yield torch.randn(16, 4, 300).transpose(0, 1)


@needs_onednn
def test_products_and_gradients_are_those_of_float64():
    for x in shapes():
        weight, bias = torch.randn(200, 300), torch.randn(200)
        out, found = gradients(linear, x, weight, bias, 1)
        torch.manual_seed(1)
        upstream = torch.randn(out.shape)
        exact = [t.double().requires_grad_(True) for t in (x.detach(), weight, bias)]
        truth = functional.linear(*exact)
        assert torch.allclose(out.double(), truth, rtol=1e-5, atol=1e-4)
        for a, b in zip(found, torch.autograd.grad(truth, exact, upstream.double())):
            assert a.shape == b.shape and torch.allclose(a.double(), b, rtol=1e-5, atol=1e-4)


@needs_onednn
def test_large_products_go_through_onednn_and_no_others():
    def taken(x, weight):
        return 'LinearBackward' in type(linear(x, weight).grad_fn).__name__

    weight = torch.randn(256, 256, requires_grad=True)
    assert taken(torch.randn(64, 256), weight)
    assert not taken(torch.randn(1, 256), weight)  # a robot's: one observation
    assert not taken(torch.randn(64, 8), torch.randn(8, 8, requires_grad=True))
    assert not taken(torch.randn(64, 256).double(), weight.detach().double().requires_grad_(True))
    with torch.autocast('cpu', torch.bfloat16):
        assert linear(torch.randn(64, 256), weight).dtype is torch.bfloat16
    assert linear(torch.randn(0, 256), weight).shape == (0, 256)


@needs_onednn
def test_a_gradient_that_nobody_asks_for_is_not_computed(monkeypatch):
    calls = []
    multiply = module._multiply
    monkeypatch.setattr(module, '_multiply', lambda *a: calls.append(1) or multiply(*a))
    x, layer = torch.randn(64, 256, requires_grad=True), Linear(256, 256).requires_grad_(False)
    torch.autograd.grad(layer(x).sum(), x)
    assert len(calls) == 2
    with pytest.raises(RuntimeError, match='once_differentiable'):  # no silent wrong second one
        first, = torch.autograd.grad(layer(x).sin().sum(), x, create_graph=True)
        first.sum().backward()


def test_without_onednn_products_are_torchs_own(monkeypatch):
    monkeypatch.setattr(module, '_ONEDNN', None)
    layer, x = Linear(256, 256), torch.randn(64, 256)
    assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    assert not module.available()
