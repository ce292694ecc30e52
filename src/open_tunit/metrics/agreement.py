"""How well two groupings of the same items agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def adjusted_rand_index(one: NDArray[np.integer], other: NDArray[np.integer]) -> float:
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


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts * (counts - 1) / 2.0
