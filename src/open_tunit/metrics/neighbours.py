"""Metrics of nearest neighbours: precision, recall, density, coverage, nearest images, k-nearest-neighbour accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from open_tunit.device import in_float64
from open_tunit.metrics.distances import check_count

BLOCK = 128
"""Rows of a distance matrix held at once."""
NEIGHBOURS = 5
"""k of all metrics here (Naeem et al. 2020)."""


def fidelity_and_diversity(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> dict[str, float]:
    """`precision`, `recall`, `density`, `coverage` of features `fake` (M, d) against `real` (N, d).

    Precision: share of fakes within a real image's ball, whose radius reaches its k-th nearest real; recall: the same
    with the roles exchanged (Kynkäänniemi et al. 2019). Density: number of balls a fake lies in, over k; coverage:
    share of real balls that hold a fake (Naeem et al. 2020). In float64. Raises TooFewError for k rows or fewer.
    """
    return {name: float(items.mean()) for name, items in neighbourhoods(real, fake, k=k).items()}


def neighbourhoods(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> dict[str, Tensor]:
    """What `fidelity_and_diversity` averages: precision, density (M,) per fake; recall, coverage (N,) per real."""
    for features, what in ((real, "real images"), (fake, "translations")):
        check_count("precision, recall, density and coverage", len(features), k + 1, what)
    real, fake = in_float64(real), in_float64(fake)
    real_radius, fake_radius = _radius(real, k), _radius(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.float64, device=real.device)
    covered, recalled = [], []
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = _distance(real[rows], fake)  # (block, M)
        inside = distance < real_radius[rows, None]
        balls += inside.sum(dim=0)
        covered.append(inside.any(dim=1))
        recalled.append((distance < fake_radius).any(dim=1))
    return {
        "precision": (balls > 0).to(balls),
        "recall": torch.cat(recalled).to(balls),
        "density": balls / k,
        "coverage": torch.cat(covered).to(balls),
    }


def nearest(queries: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) to, and index (N,) of, the nearest row of `among` (M, d) for each of `queries` (N, d)."""
    check_count("nearest image", len(among), 1)
    found = [_distance(part, in_float64(among)).min(dim=1) for part in in_float64(queries).split(BLOCK)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def neighbour_hits(features: Tensor, labels: Tensor, *, k: int = NEIGHBOURS) -> Tensor:
    """(N,) whether the majority of each row's k nearest other rows has its label; features (N, d), labels (N,).

    A tie goes to the smallest label. Raises TooFewError for k rows or fewer.
    """
    check_count("k-nearest-neighbour accuracy", len(features), k + 1, "labelled images")
    rows = in_float64(features)
    one_hot = torch.nn.functional.one_hot(labels.long().to(rows.device))  # (N, K)
    majority = []
    for start in range(0, len(rows), BLOCK):
        distance = _distance(rows[start : start + BLOCK], rows)
        distance.diagonal(start).fill_(torch.inf)
        votes = one_hot[distance.topk(k, largest=False).indices].sum(dim=1)  # (block, K)
        majority.append(votes.argmax(dim=1))
    return torch.cat(majority) == labels.to(rows.device)


def _radius(features: Tensor, k: int) -> Tensor:
    """(N,) distance of each row to its k-th nearest other row."""
    parts = []
    for start in range(0, len(features), BLOCK):
        distance = _distance(features[start : start + BLOCK], features)
        distance.diagonal(start).fill_(torch.inf)
        parts.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(parts)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
