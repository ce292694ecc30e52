"""How well pseudo labels match true labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Labels = NDArray[np.integer]


def matched_accuracy(pseudo: Labels, true: Labels) -> float:
    """Share of N items whose pseudo label is the one matched to their true label, by the best one-to-one matching.

    Both (N,), non-negative integers. The matching is the Hungarian algorithm's. Raises ValueError for empty or
    unequal inputs.
    """
    return float(matched_hits(pseudo, true).mean())


def matched_hits(pseudo: Labels, true: Labels) -> NDArray[np.bool_]:
    """(N,) which items `matched_accuracy` counts."""
    table = contingency(pseudo, true)
    rows, columns = linear_sum_assignment(table, maximize=True)
    partner = np.zeros(len(table), dtype=np.int64)
    partner[rows] = columns
    return np.asarray(partner[pseudo] == true)


def purity(pseudo: Labels, true: Labels) -> float:
    """Share of N items that have their cluster's most frequent true label. Raises ValueError as matched_accuracy."""
    return float(contingency(pseudo, true).max(axis=1).sum() / len(true))


def normalized_mutual_information(pseudo: Labels, true: Labels) -> float:
    """Mutual information over the mean of the two entropies, 0 to 1; 1 where both are one single class.

    Raises ValueError as matched_accuracy.
    """
    joint = contingency(pseudo, true) / len(true)
    entropies = [_entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))]
    if max(entropies) == 0:
        return 1.0
    shared = sum(entropies) - _entropy(joint.ravel())
    return float(max(shared, 0.0) / np.mean(entropies))


def contingency(pseudo: Labels, true: Labels) -> NDArray[np.int64]:
    """(K, K) number of items of each pseudo label (row) and true label. Raises ValueError as matched_accuracy."""
    if len(pseudo) != len(true) or not len(true):
        raise ValueError(f"{len(pseudo)} pseudo labels and {len(true)} true ones; expected as many, and at least one")
    count = int(max(pseudo.max(), true.max())) + 1
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (pseudo, true), 1)
    return table


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
