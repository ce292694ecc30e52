"""How well two groupings of the same items agree: pseudo labels and true ones, or any two labellings."""

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


def adjusted_rand_index(one: Labels, other: Labels) -> float:
    """Share of the pairs of items that two groupings agree to put together, corrected for chance.

    Both (N,), non-negative integers whose names do not matter. 1 = the same grouping, 0 = what chance gives; below 0
    is possible. 1 when both put all items together, or all apart (Hubert & Arabie 1985, eq. 5). Raises ValueError for
    unequal or fewer than two items.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"{len(one)} and {len(other)} items; expected as many, and at least two")
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1), dtype=np.int64)
    np.add.at(table, (one, other), 1)
    together, first, second = (float(_pairs(counts).sum()) for counts in (table, table.sum(axis=1), table.sum(axis=0)))
    chance = first * second / _pairs(np.array(len(one))).item()
    most = (first + second) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)


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


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts * (counts - 1) / 2.0
