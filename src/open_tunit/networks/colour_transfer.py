"""The colours of one picture in another: the linear map between their distributions that moves least.

Pitié and Kokaram, The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer, CVMP 2007;
for the colours of a picture that was redrawn in a style, Gatys et al., Preserving color in neural artistic style
transfer, 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-3
"""Added to the variances, of values in [-1, 1]: 4 levels of 255, which limits what a flat picture is multiplied by."""


def with_colours_of(pictures: Tensor, others: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1], with the mean colour and the colours' covariance of others (N, C, H', W')."""
    x = pictures.double().flatten(2)  # (N, C, H W)
    mean, covariance = _moments(x)
    wanted_mean, wanted = _moments(others.double().flatten(2))
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    way = inverse @ _power(root @ wanted @ root, 0.5) @ inverse  # (N, C, C), symmetric: colours keep their order
    return (way @ (x - mean) + wanted_mean).reshape(pictures.shape).clamp(-1, 1).to(pictures)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (N, C, 1) and covariance (N, C, C) over the last dimension."""
    mean = x.mean(dim=2, keepdim=True)
    centred = x - mean
    floor = FLOOR * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return mean, centred @ centred.mT / x.shape[2] + floor


def _power(covariance: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    power: Tensor = (vectors * values.clamp_min(FLOOR**2).pow(exponent)[:, None]) @ vectors.mT
    return power
