"""metrics/agreement.py against all matchings and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import metrics

from open_tunit.metrics import agreement
from open_tunit.metrics.agreement import adjusted_rand_index

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
    assert agreement.matched_accuracy(pseudo, true) == pytest.approx(best)
    assert agreement.matched_hits(pseudo, true).mean() == pytest.approx(best)


@pytest.mark.parametrize(("pseudo_count", "true_count"), COUNTS)
def test_mutual_information_and_purity_are_scikit_learns(pseudo_count: int, true_count: int) -> None:
    pseudo, true = _labels(pseudo_count, true_count)
    expected = metrics.normalized_mutual_info_score(true, pseudo)
    assert agreement.normalized_mutual_information(pseudo, true) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    table = metrics.cluster.contingency_matrix(true, pseudo)
    assert agreement.purity(pseudo, true) == pytest.approx(table.max(axis=0).sum() / 60)


def test_renamed_labels_agree_fully() -> None:
    true = np.array([0, 0, 1, 2, 2, 2])
    pseudo = (true + 1) % 3
    for metric in (
        agreement.matched_accuracy,
        agreement.purity,
        agreement.normalized_mutual_information,
    ):
        assert metric(pseudo, true) == pytest.approx(1)
    assert agreement.matched_accuracy(np.zeros(6, dtype=int), true) == 0.5


def test_empty_and_unequal_labels_are_refused() -> None:
    true = np.array([0, 0, 1])
    for pseudo, labels in ((true[:2], true), (true[:0], true[:0])):
        with pytest.raises(ValueError, match="expected as many, and at least one"):
            agreement.matched_accuracy(pseudo, labels)


@pytest.mark.parametrize(("groups", "others"), [(2, 2), (3, 7), (9, 4), (1, 5)])
def test_the_adjusted_rand_index_is_scikit_learns(groups: int, others: int) -> None:
    generator = np.random.default_rng(groups)
    one = generator.integers(0, groups, 200)
    other = np.where(generator.random(200) < 0.6, one % others, generator.integers(0, others, 200))
    assert adjusted_rand_index(one, other) == pytest.approx(metrics.adjusted_rand_score(one, other), abs=1e-12)


def test_the_adjusted_rand_index_ignores_names_and_is_zero_by_chance() -> None:
    generator = np.random.default_rng(0)
    one = generator.integers(0, 4, 5000)
    assert adjusted_rand_index(one, (one + 1) % 4) == 1
    assert abs(adjusted_rand_index(one, generator.integers(0, 4, 5000))) < 0.01
    assert adjusted_rand_index(np.zeros(5, dtype=int), np.zeros(5, dtype=int)) == 1


@pytest.mark.parametrize(("count", "others"), [(3, 4), (1, 1), (0, 0)])
def test_groupings_of_unequal_or_too_few_items_are_refused(count: int, others: int) -> None:
    with pytest.raises(ValueError, match=f"{count} and {others} items"):
        adjusted_rand_index(np.zeros(count, dtype=int), np.zeros(others, dtype=int))
