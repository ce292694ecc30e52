"""Muon for a network's hidden matrices, Adam for all else: to the same error in a third of the steps (docs/log.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic (Jordan 2024): steep at 0, it takes singular values to about .7 to 1.2, not to 1."""
ITERATIONS = 5
SMALLEST = 1e-7
MOMENTUM = 0.9
RATE = 15.0
"""A matrix's rate, in units of the learning rate, which is Adam's."""


@torch.no_grad()
def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with their singular values near 1: five Newton-Schulz iterations. Zero stays zero."""
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    found: Tensor = x.mT if matrices.shape[1] > matrices.shape[2] else x
    return found


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

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; the matrices' gradients are gone then."""
        assert closure is None
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for weight in self.matrices:
            if weight.grad is not None:
                alike[weight.flatten(1).shape].append(weight)
        (group,) = self.param_groups
        for shape, weights in alike.items():
            self._move(weights, group["lr"] * RATE * max(1, shape[0] / shape[1]) ** 0.5)
        super().step()

    def _move(self, weights: list[Tensor], rate: float) -> None:
        """Weights whose matrices have one shape."""
        ahead = []
        for weight in weights:
            values = self.state[weight]
            if not values:
                values["step"] = torch.zeros(())  # Adam looks for it when a state is loaded
                values["momentum"] = torch.zeros_like(weight)
            assert weight.grad is not None
            values["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead.append(weight.grad.lerp(values["momentum"], MOMENTUM).flatten(1))  # Nesterov's
            weight.grad = None
        for weight, direction in zip(weights, orthogonalised(torch.stack(ahead)), strict=True):
            weight.sub_(direction.unflatten(1, weight.shape[1:]), alpha=rate)
