"""metrics/resampling.py: intervals against textbook errors."""

from __future__ import annotations

import numpy as np
import pytest

from open_tunit.metrics.resampling import bootstrap_interval, jackknife_interval


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_the_bootstrap_of_a_ratio_resamples_both_together() -> None:
    weights = np.random.default_rng(1).uniform(1, 9, 50)
    assert bootstrap_interval(0.7 * weights, weights) == pytest.approx((0.7, 0.7))
    low, high = bootstrap_interval(np.arange(50) * weights, weights)
    assert low < (np.arange(50) * weights).sum() / weights.sum() < high


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap_interval(np.ones(7)) == (1, 1)


def test_the_jackknife_of_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(0, 1, 2000)
    low, high = jackknife_interval(lambda keep: float(values[keep].mean()), np.arange(2000), whole=values.mean())
    assert (low + high) / 2 == pytest.approx(values.mean())
    groups = values.reshape(200, 10).mean(axis=0)  # rows i, i + 10, ... leave together
    assert (high - low) / 2 == pytest.approx(1.96 * groups.std(ddof=1) / np.sqrt(10), rel=0.01)


def test_clusters_leave_together() -> None:
    clusters = np.array([0, 0, 1, 1, 2, 3])
    seen = []
    jackknife_interval(lambda keep: float(seen.append(keep.copy()) or 0), clusters, whole=0.0)
    assert len(seen) == 10
    np.testing.assert_array_equal(seen[1], clusters != 1)
