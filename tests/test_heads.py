"""K-means, and the heads that share the most information between views."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from open_tunit.training.clustering import informative_heads, kmeans


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


def loud_codes(kinds: np.ndarray, random: np.random.Generator, views: int) -> torch.Tensor:
    """Codes whose loudest direction says nothing of the kind, and is drawn anew in every view."""
    quiet = np.eye(6)[kinds]
    rows = []
    for _ in range(1 + views):
        loud = random.choice([-1.0, 1.0], size=(len(kinds), 1)) * np.eye(6)[5] * 3
        rows.append(quiet + loud + 0.1 * random.normal(size=(len(kinds), 6)))
    return torch.from_numpy(np.stack(rows)).float()


def right(found: np.ndarray, kinds: np.ndarray) -> bool:
    return len(set(zip(found.tolist(), kinds.tolist(), strict=True))) == len(set(kinds.tolist()))


def test_informative_heads_find_what_survives_the_views_and_kmeans_what_is_loud() -> None:
    random = np.random.default_rng(0)
    kinds = np.arange(300) % 3
    codes = loud_codes(kinds, random, views=3)
    heads = informative_heads(codes, 3, np.random.default_rng(1))
    found = (codes[0] @ heads.weight.T + heads.bias).argmax(dim=1).numpy()
    assert right(found, kinds)
    assert 0.95 * math.log(3) < heads.information <= math.log(3) + 1e-4
    points = F.normalize(codes[0] - codes[0].mean(dim=0), dim=1)
    assert not right((points @ kmeans(points, 3, np.random.default_rng(1)).T).argmax(dim=1).numpy(), kinds)


def test_informative_heads_are_the_generators_alone() -> None:
    codes = loud_codes(np.arange(60) % 2, np.random.default_rng(0), views=2)
    first, second = (informative_heads(codes, 2, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
