"""The adjusted Rand index, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from open_tunit.metrics.agreement import adjusted_rand_index


@pytest.mark.parametrize(("groups", "others"), [(2, 2), (3, 7), (9, 4), (1, 5)])
def test_it_is_scikit_learns(groups: int, others: int) -> None:
    generator = np.random.default_rng(groups)
    one = generator.integers(0, groups, 200)
    other = np.where(generator.random(200) < 0.6, one % others, generator.integers(0, others, 200))
    assert adjusted_rand_index(one, other) == pytest.approx(adjusted_rand_score(one, other), abs=1e-12)


def test_names_do_not_matter_and_chance_is_zero() -> None:
    generator = np.random.default_rng(0)
    one = generator.integers(0, 4, 5000)
    assert adjusted_rand_index(one, (one + 1) % 4) == 1
    assert abs(adjusted_rand_index(one, generator.integers(0, 4, 5000))) < 0.01
    assert adjusted_rand_index(np.zeros(5, dtype=int), np.zeros(5, dtype=int)) == 1


@pytest.mark.parametrize(("count", "others"), [(3, 4), (1, 1), (0, 0)])
def test_what_cannot_be_compared(count: int, others: int) -> None:
    with pytest.raises(ValueError, match=f"{count} and {others} items"):
        adjusted_rand_index(np.zeros(count, dtype=int), np.zeros(others, dtype=int))
