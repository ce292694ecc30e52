"""Normalisations with gradients written by hand: fewer passes over the images than autograd takes, in any layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from open_tunit.networks.ops.wide import along

NORM_EPS = 1e-5
FLAT, FLAT_OF_MEAN = 1e-11, 1e-10
"""Variance, also as a share of the squared mean, up to which a map is flat but for rounding. Its norm would be that
rounding, enlarged, and its gradient 1 / sqrt(NORM_EPS) times too large in every layer: infinite through a generator,
where a picture is of one tone."""
FRN_EPS = 1e-6


def instance_norm(x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Zero mean, unit biased variance over H and W of each image and channel; (N, C, H, W). Zeros where it is flat.

    `weights` (N, L) are those of `square_weights`, of pictures that are no squares; None counts all places alike.
    """
    ones = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    return adain(x, torch.zeros_like(ones), ones, weights)


def adain(x: Tensor, shift: Tensor, scale: Tensor, weights: Tensor | None = None) -> Tensor:
    """Adaptive instance normalisation: scale * instance_norm(x, weights) + shift.

    x (N, C, H, W); shift and scale (N, C). Differentiable once.
    """
    shift, scale = shift[:, :, None, None], scale[:, :, None, None]
    if weights is not None or not torch.is_grad_enabled():
        centred, rate = _centred(x, weights)
        return _affine(centred, scale * rate, shift).to(x.dtype)
    y: Tensor = _AdaIN.apply(x, shift, scale)  # type: ignore[no-untyped-call]
    return y


def frn(x: Tensor, gamma: Tensor, beta: Tensor, tau: Tensor) -> Tensor:
    """Filter response norm with a thresholded linear unit: max(gamma * x / rms(x) + beta, tau).

    x (N, C, H, W), the mean square taken over H and W; the others (1, C, 1, 1). Differentiable twice by x
    (Singh and Krishnan 2020, eq. 1 to 3).
    """
    y: Tensor = _FRN.apply(x, gamma, beta, tau)  # type: ignore[no-untyped-call]
    return y


def _wide(x: Tensor) -> Tensor:
    """Half precision as float32 on a CPU, which is slower in it at everything but convolutions."""
    return x.float() if x.is_cpu and x.dtype == torch.bfloat16 else x


def _mean(x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Over H and W, in at least float32."""
    kind = torch.promote_types(x.dtype, torch.float32)
    if weights is None:
        return x.mean(dim=(2, 3), keepdim=True, dtype=kind)
    counts = along(weights, x)
    across = 2 if counts.shape[2] == 1 else 3
    return (x.mean(dim=across, keepdim=True, dtype=kind) * counts).sum(dim=5 - across, keepdim=True)


def _affine(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    return (x * gain.to(x.dtype)).add_(offset.to(x.dtype))


def _product(x: Tensor, factor: Tensor, memory: Tensor) -> Tensor:
    """x * factor, in `memory` of the same shape; a compiler plans its own, and cannot follow `out=`."""
    return x * factor if torch.compiler.is_compiling() else torch.mul(x, factor, out=memory)


def _centred(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x = _wide(x)
    mean = _mean(x, weights)
    centred = x - mean.to(x.dtype)
    variance = _mean(centred.square(), weights)
    return centred, torch.rsqrt(variance + NORM_EPS) * (variance > FLAT + FLAT_OF_MEAN * mean.square())


class _AdaIN(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        centred, rate = _centred(x)
        ctx.save_for_backward(centred.to(x.dtype), rate, scale)
        ctx.shift_type = shift.dtype
        return _affine(centred, scale * rate, shift).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u = centred * rate: x gets scale * rate * (g - mean(g) - u * mean(g u))."""
        centred, rate, scale = ctx.saved_tensors
        kind, g, centred = g.dtype, _wide(g), _wide(centred)
        product = g * centred
        g_mean, g_centred = _mean(g), _mean(product)
        gain = scale * rate
        d_x = (g * gain.to(g.dtype)).sub_((gain * g_mean).to(g.dtype))
        d_x.sub_(_product(centred, (gain * rate.square() * g_centred).to(g.dtype), product))
        cells = g.shape[2] * g.shape[3]
        return d_x.to(kind), (g_mean * cells).to(ctx.shift_type), (g_centred * rate * cells).to(scale.dtype)


class _FRN(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, tau: Tensor) -> Tensor:
        wide = _wide(x)
        rate = torch.rsqrt(_mean(wide.square()) + FRN_EPS)
        y = _affine(wide, gamma * rate, beta - tau).relu_().add_(tau.to(wide.dtype)).to(x.dtype)
        ctx.save_for_backward(x, rate, gamma, tau, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        x, rate, gamma, tau, y = ctx.saved_tensors
        d_x, h, h_x = _FRNGradient.apply(g, x, gamma, rate, tau, y)  # type: ignore[no-untyped-call]
        if not ctx.needs_input_grad[1]:
            return d_x, None, None, None
        cells = x.shape[2] * x.shape[3]
        d_gamma = (h_x * rate).sum(dim=0, keepdim=True) * cells
        d_beta = _mean(h).sum(dim=0, keepdim=True) * cells
        d_tau = _mean(g).sum(dim=0, keepdim=True) * cells - d_beta
        return d_x, d_gamma, d_beta, d_tau


class _FRNGradient(Function):
    """The gradient of frn by x, differentiable once more by g, x and gamma: what R1 needs."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, gamma: Tensor, rate: Tensor, tau: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h = g where y is above tau: gamma * rate * (h - rate^2 * x * mean(h x)); and h, and mean(h x)."""
        kind, g, wide = x.dtype, _wide(g), _wide(x)
        above = _wide(y) - _wide(tau.to(y.dtype))
        h = torch.ops.aten.threshold_backward(g, above, 0)
        product = h * wide
        h_x = _mean(product)
        d_x = h * (gamma * rate).to(h.dtype)
        d_x.sub_(_product(wide, (gamma * rate.pow(3) * h_x).to(h.dtype), product))
        ctx.save_for_backward(h, x, gamma, rate, above, h_x)
        ctx.mark_non_differentiable(h, h_x)
        return d_x.to(kind), h, h_x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        h, x, gamma, rate, above, h_x = ctx.saved_tensors
        kind, v, x = x.dtype, _wide(v), _wide(x)
        v_x, v_h = _mean(v * x), _mean(v * h)
        gain, cube = gamma * rate, gamma * rate.pow(3)
        d_g = (v * gain.to(v.dtype)).sub_(x * (cube * v_x).to(v.dtype))
        d_g = torch.ops.aten.threshold_backward(d_g, above, 0)
        d_x = x * (cube * (3 * rate.square() * v_x * h_x - v_h)).to(x.dtype)
        d_x.sub_(v * (cube * h_x).to(v.dtype)).sub_(h * (cube * v_x).to(h.dtype))
        cells = x.shape[2] * x.shape[3]
        d_gamma = (rate * (v_h - rate.square() * v_x * h_x)).sum(dim=0, keepdim=True) * cells
        return d_g.to(kind), d_x.to(kind), d_gamma, None, None, None
