"""K-means, IIC heads, label propagation, and the linear classifiers of its result."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.training.fitting import clustering
from open_tunit.training.fitting.clustering import (
    agreement,
    iic_heads,
    kmeans,
    linear_heads,
    nearest_neighbours,
    propagate_labels,
)


def test_kmeans_finds_separated_clusters() -> None:
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(5), [100, 10, 30, 30, 30])
    directions = np.linalg.qr(random.normal(size=(8, 8)))[0][:5]
    points = F.normalize(torch.from_numpy(directions[true] + 0.1 * random.normal(size=(200, 8))), dim=1)
    centres = kmeans(points, 5, random)
    assert centres.shape == (5, 8)
    np.testing.assert_allclose(centres.norm(dim=1).numpy(), 1, rtol=1e-9)
    members = (points @ centres.T).argmax(dim=1).numpy()
    assert len({(a, b) for a, b in zip(true, members, strict=True)}) == 5
    for kind in range(5):
        mean = points[true == kind].mean(dim=0)
        torch.testing.assert_close(centres[members[true == kind][0]], mean / mean.norm(), rtol=0, atol=1e-9)


def test_kmeans_stands_fewer_different_points_than_centres() -> None:
    points = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(5, 1), dim=1)
    centres = kmeans(points, 4, np.random.default_rng(0))
    assert torch.isfinite(centres).all()
    assert ((points @ centres.T).amax(dim=1) > 1 - 1e-6).all()


def noisy_codes(kinds: np.ndarray, random: np.random.Generator, views: int) -> torch.Tensor:
    """Codes whose direction of largest variance is independent of the kind, and is drawn anew in every view."""
    signal = np.eye(6)[kinds]
    rows = []
    for _ in range(1 + views):
        nuisance = random.choice([-1.0, 1.0], size=(len(kinds), 1)) * np.eye(6)[5] * 3
        rows.append(signal + nuisance + 0.1 * random.normal(size=(len(kinds), 6)))
    return torch.from_numpy(np.stack(rows)).float()


def right(found: np.ndarray, kinds: np.ndarray) -> bool:
    return len(set(zip(found.tolist(), kinds.tolist(), strict=True))) == len(set(kinds.tolist()))


def test_iic_heads_find_what_is_invariant_and_kmeans_the_largest_variance() -> None:
    random = np.random.default_rng(0)
    kinds = np.arange(300) % 3
    codes = noisy_codes(kinds, random, views=3)
    heads = iic_heads(codes, 3, np.random.default_rng(1))
    found = (codes[0] @ heads.weight.T + heads.bias).argmax(dim=1).numpy()
    assert right(found, kinds)
    assert 0.95 * math.log(3) < heads.information <= math.log(3) + 1e-4
    points = F.normalize(codes[0] - codes[0].mean(dim=0), dim=1)
    assert not right((points @ kmeans(points, 3, np.random.default_rng(1)).T).argmax(dim=1).numpy(), kinds)


def test_iic_heads_are_a_function_of_the_generator() -> None:
    codes = noisy_codes(np.arange(60) % 2, np.random.default_rng(0), views=2)
    first, second = (iic_heads(codes, 2, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def crowds(sizes: list[int], noise: float = 0.15, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Codes around as many directions as there are sizes, and whose they are."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    return torch.from_numpy(np.eye(8)[kinds] + noise * random.normal(size=(len(kinds), 8))), kinds


def doubtful(kinds: np.ndarray, wrong: float, seed: int = 1) -> torch.Tensor:
    """Probabilities that are wrong for a share of the images, and never certain."""
    random = np.random.default_rng(seed)
    given = np.where(random.random(len(kinds)) < wrong, (kinds + 1) % (kinds.max() + 1), kinds)
    return torch.from_numpy(0.7 * np.eye(kinds.max() + 1)[given] + 0.3 / (kinds.max() + 1))


def test_neighbours_overrule_a_single_images_label() -> None:
    codes, kinds = crowds([100, 100, 100])
    before = doubtful(kinds, 0.2)
    assert (before.argmax(dim=1).numpy() == kinds).mean() < 0.85
    assert (propagate_labels(nearest_neighbours(codes), before).numpy() == kinds).all()


def test_label_propagation_gives_no_domain_a_size() -> None:
    codes, kinds = crowds([300, 100, 50, 25, 25])
    assert (propagate_labels(nearest_neighbours(codes), doubtful(kinds, 0.1)).numpy() == kinds).all()


def test_a_large_crowd_does_not_swallow_a_small_one_beside_it() -> None:
    """Without sharpening it would: everything is in the large domain then."""
    codes, kinds = crowds([400, 40], noise=0.35)
    assert (propagate_labels(nearest_neighbours(codes), doubtful(kinds, 0.1)).numpy() == kinds).mean() > 0.97


def test_two_pictures_exchange_their_labels() -> None:
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    given = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    assert propagate_labels(nearest_neighbours(codes), given).tolist() == [0, 1]  # exchanged an even number of times


def test_agreement_is_cohens_kappa_of_neighbours_by_hand() -> None:
    nearest = torch.tensor([[1], [0], [3], [0]])
    domains = torch.tensor([0, 0, 1, 1])
    assert agreement(nearest, domains) == pytest.approx((3 / 4 - 0.5) / 0.5)
    assert agreement(nearest, torch.zeros(4, dtype=torch.long)) == 0


def test_agreement_gives_no_domain_a_size() -> None:
    codes, kinds = crowds([300, 100, 50, 25, 25])
    split = np.where(kinds == 0, np.arange(len(kinds)) % 2, 1 + np.minimum(kinds, 3))  # of equal sizes, and wrong
    nearest = nearest_neighbours(codes)
    assert agreement(nearest, torch.from_numpy(kinds)) > agreement(nearest, torch.from_numpy(split)) + 0.1


def test_linear_heads_predict_the_domains_in_every_view() -> None:
    codes, kinds = crowds([80, 40, 20])
    views = torch.stack([codes, 3 * codes + 0.5, codes - 0.2]) * torch.linspace(0.1, 30, 8, dtype=torch.float64)
    weight, bias = linear_heads(views, torch.from_numpy(kinds), 3)
    assert weight.shape == (3, 8)
    for view in views:
        assert ((view @ weight.T + bias).argmax(dim=1).numpy() == kinds).all()
    again, _ = linear_heads(views, torch.from_numpy(kinds), 3)
    assert torch.equal(weight, again)


def test_linear_heads_are_near_the_least_of_their_loss() -> None:
    codes, kinds = crowds([60, 60])
    features, domains = torch.stack([codes]), torch.from_numpy(kinds)
    weight, bias = linear_heads(features, domains, 2)
    spread = codes.std(dim=0)
    points = (codes - codes.mean(dim=0)) / spread
    inner, offset = weight * spread, bias + weight @ codes.mean(dim=0)

    def loss(w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(points @ w.T + b, domains) + 1e-4 * w.square().sum()

    inner, offset = inner.clone().requires_grad_(), offset.clone().requires_grad_()
    gradient = torch.autograd.grad(loss(inner, offset), [inner, offset])
    assert max(part.abs().max().item() for part in gradient) < 5e-3
    assert loss(inner, offset).item() < 0.02


@pytest.mark.parametrize(("count", "starts"), [(5, 32), (20, 32), (100, 3), (300, 1)])
def test_many_domains_are_fitted_from_fewer_starts(monkeypatch: pytest.MonkeyPatch, count: int, starts: int) -> None:
    """The fit takes as long for 100 domains as for 23, and not minutes."""
    tried: list[tuple[int, ...]] = []

    def fit(views: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tried.append(tuple(weight.shape))
        return weight, torch.zeros(weight.shape[:2]), torch.zeros(len(weight))

    monkeypatch.setattr(clustering, "_fit", fit)
    codes = torch.randn(2, 400, 64, generator=torch.Generator().manual_seed(0))
    assert iic_heads(codes, count, np.random.default_rng(0)).weight.shape == (count, 64)
    assert tried == [(starts, count, 64)]
