"""metrics/distances.py against torchmetrics, and against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from open_tunit.metrics.distances import Moments, TooFewError, frechet_distance, kernel_distance

COUNTS = [(200, 300), (40, 300), (300, 40), (40, 30), (65, 64), (2, 2)]


class _AsTheyAre(nn.Module):
    """A feature network whose images are features already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, x: Tensor) -> Tensor:
        return x


def _features(count: int, dimensions: int, seed: int) -> Tensor:
    """Correlated, non-negative, and one that is always 0, as pooled features are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    rows = (torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mix + seed).clamp(min=0)
    rows[:, 0] = 0
    return rows.float()


@pytest.mark.parametrize(("n", "m"), COUNTS)
def test_frechet_distance_is_torchmetrics(n: int, m: int) -> None:
    real, fake = _features(n, 64, 1), _features(m, 64, 2)
    oracle = FrechetInceptionDistance(feature=_AsTheyAre(64)).set_dtype(torch.float64)
    oracle.update(real, real=True)
    oracle.update(fake, real=False)
    assert frechet_distance(real, fake) == pytest.approx(float(oracle.compute()), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), COUNTS)
def test_frechet_distance_in_numpy(n: int, m: int) -> None:
    real, fake = _features(n, 24, 3), _features(m, 24, 4)
    a, b = real.double().numpy(), fake.double().numpy()
    covariances = [np.cov(part, rowvar=False) for part in (a, b)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    shared = scipy.linalg.svdvals(root @ _root(covariances[1])).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum(np.trace(c) for c in covariances) - 2 * shared
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T


def test_one_dimensional_gaussians_by_hand() -> None:
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [11.0]])  # variances 2 and 18
    assert frechet_distance(a, b) == pytest.approx(7**2 + (2**0.5 - 18**0.5) ** 2)


def test_a_set_is_at_no_distance_from_itself_and_far_from_zero_does_not_matter() -> None:
    rows = _features(300, 16, 5)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    far = (rows.double() + 1e6, rows.double() * 2 + 1e6)
    assert frechet_distance(*far) == pytest.approx(frechet_distance(rows, rows.double() * 2), rel=1e-6)


@pytest.mark.parametrize("count", [30, 200])
def test_moments_in_parts_are_those_of_the_whole(count: int) -> None:
    rows = _features(count, 48, 6)
    parts = Moments()
    for part in rows.split(7):
        parts.add(part)
    expected = torch.from_numpy(np.cov(rows.double().numpy(), rowvar=False))
    torch.testing.assert_close(parts.covariance(), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts.mean, rows.double().mean(dim=0), rtol=1e-12, atol=1e-12)
    assert parts.variance() == pytest.approx(float(expected.trace()))
    other = _features(100, 48, 7)
    assert frechet_distance(parts, other) == pytest.approx(frechet_distance(rows, other), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (700, 650)])
@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_kernel_distance_is_torchmetrics_on_all_rows(n: int, m: int) -> None:
    size = min(n, m)
    real, fake = _features(size, 32, 8), _features(size, 32, 9)
    oracle = KernelInceptionDistance(feature=_AsTheyAre(32), subsets=2, subset_size=size).set_dtype(torch.float64)
    oracle.update(real.double(), real=True)
    oracle.update(fake.double(), real=False)
    value, spread = kernel_distance(real, fake, subsets=2)
    assert value == pytest.approx(float(oracle.compute()[0]), rel=1e-6)
    assert spread == pytest.approx(0, abs=1e-9 * abs(value))


def test_kernel_distance_of_subsets_in_numpy() -> None:
    a, b = (_features(20, 8, seed).double() for seed in (10, 11))
    generator = torch.Generator().manual_seed(4)
    chosen = [[torch.randperm(20, generator=generator)[:6] for _ in range(5)] for _ in range(2)]
    expected = []
    for in_a, in_b in zip(*chosen, strict=True):
        x, y = a[in_a].numpy(), b[in_b].numpy()
        xx, yy, xy = ((u @ v.T / 8 + 1) ** 3 for u, v in ((x, x), (y, y), (x, y)))
        within = [(k.sum() - np.trace(k)) / 30 for k in (xx, yy)]
        expected.append(sum(within) - 2 * xy.mean())
    value, spread = kernel_distance(a, b, subsets=5, subset_size=6, seed=4)
    assert value == pytest.approx(np.mean(expected))
    assert spread == pytest.approx(np.std(expected))
    assert kernel_distance(a, b, subsets=5, subset_size=6, seed=4) == (value, spread)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance])
def test_one_image_is_too_few(metric: object) -> None:
    with pytest.raises(TooFewError, match=r"1 \w+; it needs at least 2"):
        metric(torch.ones(5, 3), torch.ones(1, 3))  # type: ignore[operator]


def test_features_of_other_shapes_are_refused() -> None:
    moments = Moments(torch.ones(3, 4))
    for wrong in (torch.ones(3, 5), torch.ones(4)):
        with pytest.raises(ValueError, match=r"expected \(N, d\)"):
            moments.add(wrong)
