"""metrics/neighbours.py against the published formulas in plain numpy, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from open_tunit.metrics import neighbours
from open_tunit.metrics.distances import TooFewError
from open_tunit.metrics.neighbours import fidelity_and_diversity, nearest, neighbour_hits


def _rows(count: int, seed: int, shift: float = 0.0, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize(("n", "m", "k"), [(80, 120, 5), (120, 30, 3), (6, 6, 5), (600, 40, 5)])
def test_precision_recall_density_and_coverage_by_their_formulas(n: int, m: int, k: int) -> None:
    real, fake = _rows(n, 1), _rows(m, 2, shift=0.6)
    within_real, within_fake, between = _distances(real, real), _distances(fake, fake), _distances(real, fake)
    real_radius = np.sort(within_real, axis=1)[:, k]  # the 0th is the row itself
    fake_radius = np.sort(within_fake, axis=1)[:, k]
    balls = between < real_radius[:, None]
    expected = {
        "precision": balls.any(axis=0).mean(),
        "recall": (between < fake_radius[None]).any(axis=1).mean(),
        "density": balls.sum() / (k * m),
        "coverage": (between.min(axis=1) < real_radius).mean(),
    }
    found = fidelity_and_diversity(torch.from_numpy(real), torch.from_numpy(fake), k=k)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_same_set_is_perfect_and_a_distant_one_worthless() -> None:
    real = torch.from_numpy(_rows(50, 3))
    same = fidelity_and_diversity(real, real)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    assert set(fidelity_and_diversity(real, real + 100).values()) == {0}


def test_nearest_rows_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    queries, among = _rows(20, 4), _rows(33, 5)
    distance, index = nearest(torch.from_numpy(queries), torch.from_numpy(among))
    np.testing.assert_array_equal(index.numpy(), _distances(queries, among).argmin(axis=1))
    np.testing.assert_allclose(distance.numpy(), _distances(queries, among).min(axis=1), rtol=1e-12)


def test_neighbour_hits_leave_the_image_itself_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    labels = np.random.default_rng(6).integers(0, 3, 60)
    rows = _rows(60, 7) + labels[:, None]
    hits = []
    for index in range(60):
        others = np.arange(60) != index
        judge = KNeighborsClassifier(n_neighbors=5, algorithm="brute").fit(rows[others], labels[others])
        hits.append(judge.predict(rows[[index]])[0] == labels[index])
    found = neighbour_hits(torch.from_numpy(rows), torch.from_numpy(labels))
    np.testing.assert_array_equal(found.numpy(), hits)
    assert 0 < np.mean(hits) < 1


def test_too_few_images_say_how_many_are_needed() -> None:
    few, enough = torch.ones(5, 2), torch.arange(20.0).reshape(10, 2)
    with pytest.raises(TooFewError, match="5 real images; it needs at least 6"):
        fidelity_and_diversity(few, enough)
    with pytest.raises(TooFewError, match="5 translations; it needs at least 6"):
        fidelity_and_diversity(enough, few)
    with pytest.raises(TooFewError, match="5 labelled images; it needs at least 6"):
        neighbour_hits(few, torch.zeros(5, dtype=torch.int64))
