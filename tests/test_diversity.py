"""metrics/diversity.py by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from open_tunit.metrics.distances import TooFewError
from open_tunit.metrics.diversity import diversity


def test_diversity_is_the_mean_over_pairs_of_unit_vectors() -> None:
    features = np.random.default_rng(0).normal(size=(4, 5, 7))
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    pairs = list(itertools.combinations(range(5), 2))
    expected = [np.mean([((rows[i] - rows[j]) ** 2).sum() for i, j in pairs]) for rows in unit]
    np.testing.assert_allclose(diversity(torch.from_numpy(features)).numpy(), expected, rtol=1e-9)


def test_identical_translations_have_none_and_opposite_ones_the_most() -> None:
    ray = torch.tensor([1.0, 2.0, 3.0])
    assert diversity(torch.stack([ray, 5 * ray])[None]).item() == pytest.approx(0, abs=1e-12)
    assert diversity(torch.stack([ray, -ray])[None]).item() == pytest.approx(4)


def test_one_reference_is_too_few() -> None:
    with pytest.raises(TooFewError, match="1 reference per source; it needs at least 2"):
        diversity(torch.ones(3, 1, 4))
