"""Confidence intervals by resampling."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from open_tunit.rng import rng

LEVEL = 0.95
NORMAL_QUANTILE = 1.959964
"""Of the normal distribution, at LEVEL in the middle."""
RESAMPLES, CHUNK = 1000, 100
GROUPS = 10

Interval = tuple[float, float]


def bootstrap_interval(
    values: NDArray[np.generic], weights: NDArray[np.generic] | None = None, *, seed: int = 0
) -> Interval:
    """The middle 95 % of sum(values) / sum(weights) over 1,000 resamples of N items with replacement.

    Both (N,); weights of None are 1, which makes it the mean. Efron 1979, percentile method.
    """
    items = np.asarray(values, dtype=np.float64)
    below = np.ones(len(items)) if weights is None else np.asarray(weights, dtype=np.float64)
    generator = rng(seed)
    shares = np.full(len(items), 1 / len(items))
    ratios = []
    for _ in range(0, RESAMPLES, CHUNK):
        counts = generator.multinomial(len(items), shares, size=CHUNK)  # (CHUNK, N)
        ratios.append((counts @ items) / (counts @ below))
    low, high = np.quantile(np.concatenate(ratios), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def jackknife_interval(
    statistic: Callable[[NDArray[np.bool_]], float], clusters: NDArray[np.integer], *, whole: float
) -> Interval:
    """95 % interval about `whole`, the statistic of all rows, from its values with a tenth left out in turn.

    `statistic` gets a mask of the rows to keep; rows of one of the `clusters` (N,) leave together. The delete-a-group
    jackknife: unlike the bootstrap it repeats no row, which would make a Fréchet distance larger.
    """
    group = clusters % GROUPS
    left_out = np.array([statistic(group != g) for g in range(GROUPS)])
    error = math.sqrt((GROUPS - 1) / GROUPS * float(((left_out - left_out.mean()) ** 2).sum()))
    return whole - NORMAL_QUANTILE * error, whole + NORMAL_QUANTILE * error
