"""Neighbours' votes, and the linear heads that follow them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from open_tunit.training.clustering import agreement, linear_heads, nearest_neighbours, vote


def crowds(sizes: list[int], noise: float = 0.15, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Codes around as many directions as there are sizes, and whose they are."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    return torch.from_numpy(np.eye(8)[kinds] + noise * random.normal(size=(len(kinds), 8))), kinds


def doubtful(kinds: np.ndarray, wrong: float, seed: int = 1) -> torch.Tensor:
    """Probabilities that are wrong for a share of the images, and never sure."""
    random = np.random.default_rng(seed)
    said = np.where(random.random(len(kinds)) < wrong, (kinds + 1) % (kinds.max() + 1), kinds)
    return torch.from_numpy(0.7 * np.eye(kinds.max() + 1)[said] + 0.3 / (kinds.max() + 1))


def test_neighbours_overrule_what_an_image_alone_says() -> None:
    codes, kinds = crowds([100, 100, 100])
    before = doubtful(kinds, 0.2)
    assert (before.argmax(dim=1).numpy() == kinds).mean() < 0.85
    assert (vote(nearest_neighbours(codes), before).numpy() == kinds).all()


def test_votes_give_no_domain_a_size() -> None:
    codes, kinds = crowds([300, 100, 50, 25, 25])
    assert (vote(nearest_neighbours(codes), doubtful(kinds, 0.1)).numpy() == kinds).all()


def test_a_large_crowd_does_not_swallow_a_small_one_beside_it() -> None:
    """Votes that were not sharpened would: everything is in the large domain then."""
    codes, kinds = crowds([400, 40], noise=0.35)
    assert (vote(nearest_neighbours(codes), doubtful(kinds, 0.1)).numpy() == kinds).mean() > 0.97


def test_two_pictures_take_each_others_word() -> None:
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    said = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    assert vote(nearest_neighbours(codes), said).tolist() == [0, 1]  # exchanged an even number of times


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


def test_linear_heads_tell_the_domains_in_every_view() -> None:
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
