"""The covariance of few rows in many dimensions: shrunk, and its symmetric root."""

from __future__ import annotations

import torch
from torch import Tensor


def shrunk_covariance(rows: Tensor) -> Tensor:
    """The covariance (d, d) of rows (N, d), in float64, shrunk towards a multiple of the identity of the same trace.

    Ledoit and Wolf 2004, whose weights bring it nearest to the true covariance on average, however few rows there are;
    of the sample covariance that divides by N. One row gives zeros.
    """
    centred = rows.double() - rows.double().mean(dim=0)
    count, dimensions = centred.shape
    sample = centred.T @ centred / count
    identity = torch.eye(dimensions, dtype=torch.float64, device=rows.device)
    target = sample.trace() / dimensions * identity
    distance = (sample - target).square().sum()
    noise = (centred.square().sum(dim=1).square().mean() - sample.square().sum()) / count
    share = (noise / distance).clamp(0, 1) if distance > 0 else 1.0
    return (1 - share) * sample + share * target


def symmetric_root(covariance: Tensor) -> Tensor:
    """The symmetric R (..., d, d) with R @ R = covariance, of whose eigenvalues negative ones count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()[..., None, :] @ vectors.mT
    return root
