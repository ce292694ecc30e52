"""metrics/clustering.py against all matchings and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import metrics

from open_tunit.metrics import clustering

COUNTS = [(3, 3), (4, 3), (3, 4), (1, 3), (3, 1), (1, 1)]


def _labels(pseudo_count: int, true_count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(pseudo_count * 10 + true_count)
    true = random.integers(0, true_count, 60)
    pseudo = np.where(random.random(60) < 0.5, true % pseudo_count, random.integers(0, pseudo_count, 60))
    return pseudo, true


@pytest.mark.parametrize(("pseudo_count", "true_count"), COUNTS)
def test_matched_accuracy_is_the_best_of_all_matchings(pseudo_count: int, true_count: int) -> None:
    pseudo, true = _labels(pseudo_count, true_count)
    count = max(pseudo_count, true_count)
    best = max((np.array(order)[pseudo] == true).mean() for order in itertools.permutations(range(count)))
    assert clustering.matched_accuracy(pseudo, true) == pytest.approx(best)
    assert clustering.matched_hits(pseudo, true).mean() == pytest.approx(best)


@pytest.mark.parametrize(("pseudo_count", "true_count"), COUNTS)
def test_agreement_is_scikit_learns(pseudo_count: int, true_count: int) -> None:
    pseudo, true = _labels(pseudo_count, true_count)
    expected = metrics.normalized_mutual_info_score(true, pseudo)
    assert clustering.normalized_mutual_information(pseudo, true) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    table = metrics.cluster.contingency_matrix(true, pseudo)
    assert clustering.purity(pseudo, true) == pytest.approx(table.max(axis=0).sum() / 60)


def test_renamed_labels_agree_fully() -> None:
    true = np.array([0, 0, 1, 2, 2, 2])
    pseudo = (true + 1) % 3
    for metric in (
        clustering.matched_accuracy,
        clustering.purity,
        clustering.normalized_mutual_information,
    ):
        assert metric(pseudo, true) == pytest.approx(1)
    assert clustering.matched_accuracy(np.zeros(6, dtype=int), true) == 0.5


def test_empty_and_unequal_labels_are_refused() -> None:
    true = np.array([0, 0, 1])
    for pseudo, labels in ((true[:2], true), (true[:0], true[:0])):
        with pytest.raises(ValueError, match="expected as many, and at least one"):
            clustering.matched_accuracy(pseudo, labels)
