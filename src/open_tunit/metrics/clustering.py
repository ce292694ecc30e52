"""How well pseudo labels match true labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def matched_accuracy(pseudo: NDArray[np.integer], true: NDArray[np.integer]) -> float:
    """Share of N items whose pseudo label is the one matched to their true label, by the best one-to-one matching.

    Both (N,), non-negative integers. The matching is the Hungarian algorithm's. Raises ValueError for empty or
    unequal inputs.
    """
    if len(pseudo) != len(true) or not len(true):
        raise ValueError(f"{len(pseudo)} pseudo labels and {len(true)} true ones; expected as many, and at least one")
    count = int(max(pseudo.max(), true.max())) + 1
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (pseudo, true), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(true))
