"""The normalisations' hand-written gradients against finite differences and against autograd, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from open_tunit.networks.ops.convolutions import PooledConv, ReflectConv, ThinConv
from open_tunit.networks.ops.norms import adain, frn, instance_norm


def normal(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.requires_grad_()


def plain_frn(x: Tensor, gamma: Tensor, beta: Tensor, tau: Tensor) -> Tensor:
    rms = torch.sqrt(x.pow(2).mean(dim=(2, 3), keepdim=True) + 1e-6)
    return torch.max(gamma * x / rms + beta, tau)


def frn_inputs() -> list[Tensor]:
    return [normal(2, 3, 4, 5), *(normal(1, 3, 1, 1, seed=seed) for seed in (1, 2, 3))]


def penalty(layer: object, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of R1 and a loss together, as D's step takes them."""
    assert callable(layer)
    x, *parameters = inputs
    y = torch.tanh(layer(*inputs))
    (by_x,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    return list(torch.autograd.grad(by_x.square().sum() + y.sum(), (x, *parameters)))


def test_frn_has_the_gradients_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(frn, frn_inputs())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_frn_differentiated_twice_is_what_autograd_gives(layout: torch.memory_format) -> None:
    inputs = frn_inputs()
    inputs[0] = inputs[0].detach().contiguous(memory_format=layout).requires_grad_()
    for ours, theirs in zip(penalty(frn, inputs), penalty(plain_frn, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_adain_has_the_gradients_of_autograd(layout: torch.memory_format) -> None:
    x = normal(2, 3, 4, 5).detach().contiguous(memory_format=layout).requires_grad_()
    shift, scale, direction = normal(2, 3, seed=1), normal(2, 3, seed=2), normal(2, 3, 4, 5, seed=3)
    plain = F.instance_norm(x) * scale[:, :, None, None] + shift[:, :, None, None]
    found = torch.autograd.grad((adain(x, shift, scale) * direction).sum(), (x, shift, scale))
    expected = torch.autograd.grad((plain * direction).sum(), (x, shift, scale))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(instance_norm, (x,))


def test_half_precision_loses_only_what_it_must() -> None:
    x = normal(2, 3, 8, 8).detach().bfloat16()
    one, zero = (torch.full((1, 3, 1, 1), value) for value in (1.0, 0.0))
    shift, scale = torch.zeros(2, 3), torch.ones(2, 3)
    for found, expected in (
        (frn(x, one, zero, zero - 9), plain_frn(x.double(), one, zero, zero - 9)),
        (adain(x, shift, scale), F.instance_norm(x.double())),
    ):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=2**-8)


@pytest.mark.parametrize("size", [4, 6, 8])
def test_pooled_conv_is_convolution_then_pooling(size: int) -> None:
    layer = PooledConv(2, 3).double()
    x, direction = normal(2, 2, size, size), normal(2, 3, size // 2, size // 2, seed=1)
    assert layer.bias is not None
    inputs = (x, layer.weight, layer.bias)
    plain = F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)
    torch.testing.assert_close(layer(x), plain, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad((layer(x) * direction).sum(), inputs)
    expected = torch.autograd.grad((plain * direction).sum(), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (8, 12), (7, 8), (8, 6)])
def test_thin_conv_is_the_reflected_convolution(shape: tuple[int, int]) -> None:
    layer, plain = ThinConv(2, 3, 7, padding=3).double(), ReflectConv(2, 3, 7, padding=3).double()
    plain.load_state_dict(layer.state_dict())
    x, direction = normal(2, 2, *shape), normal(2, 3, *shape, seed=1)
    results = []
    for each in (layer, plain):
        assert each.bias is not None
        y = each(x)
        results.append((y, *torch.autograd.grad((y * direction).sum(), (x, each.weight, each.bias))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_thin_conv_computes_blocks_and_stays_channels_last() -> None:
    layer = ThinConv(2, 3, 7, padding=3)
    x = torch.zeros(2, 2, 8, 8).contiguous(memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counted:
        y = layer(x)
    assert counted.get_total_flops() == 2 * 2 * (2 * 4) * (8 * 10 * 2 * 24) + 2 * 3 * 640 * 49 * 2
    assert y.is_contiguous(memory_format=torch.channels_last)
