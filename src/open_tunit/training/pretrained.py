"""What a pretrained guiding network is fitted with, from features computed once: style codes by whitening, domains.

The trunk never learns, so all that is left of E's own phase is linear algebra on N x 1280 numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

STYLE_SCALE = 0.5
"""Deviation of each number of a style code."""
FLOOR = 0.03
"""Share of the mean variance of the kept directions that is added to each, so that none is only noise."""
SMALLEST = 1e-12


class LinearMap(NamedTuple):
    """features @ weight.T + bias."""

    weight: Tensor
    """(d, D)"""
    bias: Tensor
    """(d,)"""

    def __call__(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., d)."""
        return features @ self.weight.T + self.bias

    @torch.no_grad()
    def copy_to(self, head: nn.Linear) -> None:
        """Make `head` this map."""
        head.weight.copy_(self.weight)
        head.bias.copy_(self.bias)


def whitening(
    features: Tensor, count: int, *, power: float = 1.0, floor: float = FLOOR, scale: float = 1.0
) -> LinearMap:
    """The `count` principal directions of features (N, D), centred and scaled by their deviation ** -power.

    power 1 whitens: every direction gets about the deviation `scale`; 1/2 half-whitens; 0 is PCA. Directions beyond
    the features' rank get nearly 0. In float64; signs are fixed by each direction's largest entry.
    """
    mean = features.double().mean(dim=0)
    centred = features.double() - mean
    covariance = centred.T @ centred / len(features)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[:count].clamp(min=0), vectors.flip(1)[:, :count]
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    deviation = (values + floor * values.mean() + SMALLEST).sqrt()
    weight = (vectors * signs * (scale * deviation**-power)).T
    return LinearMap(weight.to(features), (-weight @ mean).to(features))


@torch.no_grad()
def fit_style(style_head: nn.Linear, palette_head: nn.Linear, features: Tensor, colours: Tensor) -> None:
    """Point both heads at the whitened principal directions of the training images' features (N, D) and colours."""
    for head, seen in ((style_head, features), (palette_head, colours)):
        whitening(seen, head.out_features, scale=STYLE_SCALE).copy_to(head)
