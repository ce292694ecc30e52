"""The colours of one picture in another: the linear map between their distributions that moves least.

Pitié and Kokaram, The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer, CVMP 2007;
for the colours of a picture that was redrawn in a style, Gatys et al., Preserving color in neural artistic style
transfer, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from open_tunit.device import alike, in_float64

FLOOR = 1e-3
"""Added to the variances, of values in [-1, 1]: 4 levels of 255, which limits what a flat picture is multiplied by."""
LEAST = 1e-6
"""Of every pixel's weight, so that where nothing counts all pixels count alike."""


class Moments(NamedTuple):
    """Of the colours of N pictures, in float64, on the CPU."""

    mean: Tensor
    """(N, C, 1)."""
    square: Tensor
    """The mean of the colours' products (N, C, C)."""


class ColourMap(NamedTuple):
    """colour -> way @ colour + offset, for N pictures or, with N = 1, for any number."""

    way: Tensor
    """(N, C, C), symmetric, positive: no colours change places."""
    offset: Tensor
    """(N, C, 1)."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in their new colours, cut to [-1, 1]."""
        way, offset = (alike(part, pictures) for part in self)
        return (way @ pictures.flatten(2) + offset).reshape(pictures.shape).clamp(-1, 1)


def moments(pictures: Tensor, weights: Tensor | None = None) -> Moments:
    """Of pictures (N, C, H, W), where the weights (N, 1, H, W) tell how much each pixel counts; None: all alike."""
    x = in_float64(pictures).flatten(2).cpu()
    counts = torch.ones_like(x[:, :1]) if weights is None else in_float64(weights).flatten(2).cpu() + LEAST
    counted = x * (counts / counts.sum(dim=2, keepdim=True))  # (N, C, H W)
    return Moments(counted.sum(dim=2, keepdim=True), counted @ x.mT)


def pooled(several: Sequence[Moments]) -> Moments:
    """Of all their pictures as one, N = 1, each counting alike."""
    return Moments(*(torch.cat(parts).mean(dim=0, keepdim=True) for parts in zip(*several, strict=True)))


def colour_map(given: Moments, wanted: Moments) -> ColourMap:
    """From colours of the moments `given` to those of `wanted`: their mean, and but for FLOOR their covariance."""
    covariance = _covariance(given)
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    way = inverse @ _power(root @ _covariance(wanted) @ root, 0.5) @ inverse
    return ColourMap(way, wanted.mean - way @ given.mean)


def with_colours_of(pictures: Tensor, others: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] in the colours of others; the weights are for both of them."""
    return colour_map(moments(pictures, weights), moments(others, weights))(pictures)


def _covariance(of: Moments) -> Tensor:
    return of.square - of.mean @ of.mean.mT + FLOOR * torch.eye(of.mean.shape[1], dtype=of.mean.dtype)


def _power(covariance: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    power: Tensor = (vectors * values.clamp_min(FLOOR**2).pow(exponent)[:, None]) @ vectors.mT
    return power
