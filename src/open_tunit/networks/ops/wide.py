"""Which part of a wide or high picture the statistics of instance norm are taken from."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from open_tunit.device import alike, in_float64

FLAT = 1e-6
"""A variance of no account, of values in [-1, 1]."""


def square_weights(x: Tensor) -> Tensor | None:
    """How much each place along the long side of pictures (N, C, H, W) counts: (N, max(H, W)), of sum 1.

    A network that was trained on squares has seen the statistics of squares, and empty ground beside an object moves
    them. So each place counts by the squares that contain it, and each square by its variance. None for squares.
    """
    side, length = sorted(x.shape[2:])
    if side == length:
        return None
    short = 2 if x.shape[2] == side else 3
    lines = in_float64(x).transpose(short, 2)  # (N, C, side, length)
    mean, square = _over_squares(lines.mean(dim=2), side), _over_squares(lines.square().mean(dim=2), side)
    variance = (square - mean.square()).clamp_min(0).sum(dim=1) + FLAT  # (N, length - side + 1)
    places = _over_squares(F.pad(variance, (side - 1, side - 1)), side)
    return alike(places / places.sum(dim=1, keepdim=True), x)


def along(weights: Tensor, x: Tensor) -> Tensor:
    """Weights (N, L) of a picture, for its features x (N, C, H, W): (N, 1, 1, W) or (N, 1, H, 1), of sum 1."""
    height, width = x.shape[2:]
    pooled = F.adaptive_avg_pool1d(weights.float()[:, None], max(height, width))[:, 0]
    pooled = pooled / pooled.sum(dim=1, keepdim=True)
    return pooled[:, None, None, :] if width > height else pooled[:, None, :, None]


def _over_squares(lines: Tensor, side: int) -> Tensor:
    """Means of `side` neighbours (..., L) -> (..., L - side + 1)."""
    sums = F.pad(lines.cumsum(dim=-1), (1, 0))
    return (sums[..., side:] - sums[..., :-side]) / side
