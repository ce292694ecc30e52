"""Muon for a network's hidden matrices, Adam for all else: to the same error in fewer steps (docs/log.md)."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from open_tunit.device import exact_float32

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic (Jordan 2024): steep at 0, it takes singular values to about .7 to 1.2, not to 1."""
ITERATIONS = 5
SMALLEST = 1e-7
MOMENTUM = 0.9
RATE = 15.0
"""A matrix's rate, in units of the learning rate, which is Adam's."""
LARGEST = 10.0
"""Of gradient and momentum, in lengths of the other: a flat picture in a batch makes gradients of 1e12, of rounding."""


@torch.no_grad()
def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values near 1: five Newton-Schulz iterations. Zero stays zero.

    An iteration multiplies by a polynomial of the Gram matrix, and the next Gram matrix is that one between two such
    factors. So all products but the first and the last are of the smaller square. In float32 or better: an error of the
    Gram matrix grows twelvefold with each iteration.
    """
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    with exact_float32() if x.is_cuda else contextlib.nullcontext():
        gram = x @ x.mT
        factor = product = _quintic(gram)
        for _ in range(ITERATIONS - 1):
            gram = factor @ gram @ factor
            factor = _quintic(gram)
            product = factor @ product
        x = product @ x
    found: Tensor = x.mT if matrices.shape[1] > matrices.shape[2] else x
    return found


def _quintic(gram: Tensor) -> Tensor:
    """a + b G + c G^2 of Gram matrices (N, n, n): what takes x to the quintic of its singular values."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(torch.optim.Adam):
    """Momentum orthogonalised (Jordan 2024), of `matrices` with two dimensions or more; Adam for other parameters.

    A convolution's weight (out, in, h, w) is the matrix (out, in * h * w). A step changes it by RATE times the
    learning rate in every direction of its singular values, whatever the gradient's size, tall matrices by
    sqrt(rows / columns) more. First and last layers do better with Adam.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, fused=True)
        self.matrices = list(matrices)

    def __getstate__(self) -> dict[str, Any]:
        """For copies."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"matrices": self.matrices}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; the matrices' gradients are gone then."""
        assert closure is None
        alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for weight in self.matrices:
            if weight.grad is not None:
                alike[weight.shape[0], weight[0].numel()].append(weight)
        (group,) = self.param_groups
        for (rows, columns), weights in alike.items():
            self._move(weights, group["lr"] * RATE * max(1, rows / columns) ** 0.5)
        super().step()

    def _move(self, weights: list[Tensor], rate: float | Tensor) -> None:
        """Weights whose matrices have one shape."""
        ahead = []
        for weight in weights:
            values = self.state[weight]
            if "momentum" not in values:
                values["step"] = torch.zeros(())  # Adam looks for it when a state is loaded
                values["momentum"] = torch.zeros_like(weight)
            assert weight.grad is not None
            gradient, momentum = _bounded(weight.grad, values["momentum"])
            values["step"] += 1
            values["momentum"].copy_(momentum.lerp(gradient, 1 - MOMENTUM))
            ahead.append(gradient.lerp(values["momentum"], MOMENTUM).flatten(1))  # Nesterov's
            weight.grad = None
        for weight, direction in zip(weights, orthogonalised(torch.stack(ahead)), strict=True):
            weight.sub_(direction.unflatten(1, weight.shape[1:]) * rate)


def _bounded(gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
    """Both, each at most LARGEST times as long as the other; of a momentum of zero the gradient is free."""
    length, other = gradient.norm(), momentum.norm()
    longest = torch.where(other > 0, LARGEST * other, torch.inf)
    return gradient * _share(longest, length), momentum * _share(LARGEST * length, other)


def _share(longest: Tensor, length: Tensor) -> Tensor:
    return torch.where(length > longest, longest / length, 1.0)
