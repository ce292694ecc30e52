"""Whitening and the style code of a pretrained guiding network, against NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from open_tunit.metrics.agreement import matched_accuracy
from open_tunit.training.fitting.clustering import kmeans
from open_tunit.training.fitting.pretrained import (
    domain_codes,
    find_domains,
    fit_domain_head,
    fit_style,
    gathered,
    whitening,
)


def features(count: int = 400, width: int = 12, seed: int = 0) -> torch.Tensor:
    """Of very different variances, in correlated directions, far from zero."""
    random = np.random.default_rng(seed)
    turned = np.linalg.qr(random.normal(size=(width, width)))[0]
    return torch.from_numpy(random.normal(size=(count, width)) * np.geomspace(10, 0.01, width) @ turned + 5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_principal_directions_against_numpy(power: float) -> None:
    x = features()
    found = whitening(x, 4, power=power, floor=0.0)(x).numpy()
    centred = x.numpy() - x.numpy().mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    deviation = singular[:4] / np.sqrt(len(x))
    expected = centred @ directions[:4].T / deviation**power
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-8)


def test_whitened_features_are_uncorrelated_and_of_one_size() -> None:
    x = features()
    codes = whitening(x, 5, floor=0.0, scale=0.5)(x).numpy()
    np.testing.assert_allclose(np.cov(codes.T, ddof=0), 0.25 * np.eye(5), atol=1e-8)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-10)


def test_the_floor_keeps_noise_small() -> None:
    x = features()
    deviations = whitening(x, 8, floor=0.03)(x).std(dim=0, correction=0).numpy()
    variances = np.linalg.eigvalsh(np.cov(x.numpy().T, ddof=0))[::-1][:8]
    np.testing.assert_allclose(deviations, np.sqrt(variances / (variances + 0.03 * variances.mean())), rtol=1e-6)
    assert deviations[0] > 0.95
    assert deviations[-1] < 0.2


def test_fewer_images_than_directions() -> None:
    x = features(count=5)
    codes = whitening(x, 10)(x)
    assert codes.isfinite().all()
    assert codes[:, 4:].abs().max() < 1e-3


def test_signs_do_not_depend_on_the_order_of_images() -> None:
    x = features()
    torch.testing.assert_close(whitening(x, 4).weight, whitening(x.flip(0), 4).weight, rtol=0, atol=1e-9)


def test_fitted_heads_give_codes_of_deviation_one_half() -> None:
    style_head, palette_head = torch.nn.Linear(12, 3), torch.nn.Linear(9, 4)
    seen, colours = features().float(), features(width=9, seed=1).float()
    fit_style(style_head, palette_head, seen, colours)
    for head, x in ((style_head, seen), (palette_head, colours)):
        codes = head(x)
        assert codes.mean(dim=0).abs().max() < 1e-3
        assert codes[:, 0].std().item() == pytest.approx(0.5, abs=0.02)


def crowds(sizes: list[int], seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Non-negative features, as many large ones per kind as in networks, and whose they are."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    typical = random.exponential(size=(len(sizes), 64)) ** 2
    return torch.from_numpy(typical[kinds] * random.exponential(size=(len(kinds), 64))), kinds


def test_domains_are_the_crowds_whatever_their_sizes() -> None:
    x, kinds = crowds([120, 60, 40, 30])
    for order in (np.random.default_rng(seed).permutation(len(x)) for seed in range(6)):
        domains = find_domains(x[order], 4, np.random.default_rng(0)).numpy()
        assert matched_accuracy(domains, kinds[order]) > 0.97
        again = find_domains(x[order], 4, np.random.default_rng(0)).numpy()
        assert (domains == again).all()


@pytest.mark.parametrize("seed", [1, 3])
def test_domains_are_the_crowds_where_something_else_varies_more(seed: int) -> None:
    x, kinds = crowds([80, 80, 80], seed)
    random = np.random.default_rng(seed + 50)
    lit = random.choice([0.0, 4.0], size=(len(x), 1)) * (random.random(64) < 0.5)  # a lamp, say, on or off
    x = x + torch.from_numpy(lit)
    assert matched_accuracy(find_domains(x, 3, np.random.default_rng(0)).numpy(), kinds) > 0.97
    plain = F.normalize(domain_codes(x, 48, power=0), dim=1)
    by_light = (plain @ kmeans(plain, 3, np.random.default_rng(0)).T).argmax(dim=1).numpy()
    assert matched_accuracy(by_light, kinds) < 0.75


def test_domain_codes_are_principal_directions_of_the_roots() -> None:
    x, _ = crowds([50, 50])
    roots = np.sqrt(x.numpy())
    centred = roots - roots.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:32]
    codes = domain_codes(x, 32, power=0)
    expected = centred @ directions.T
    np.testing.assert_allclose((codes @ codes.T).numpy(), expected @ expected.T, atol=1e-8)
    halved = domain_codes(x, 32, power=0.5)
    assert halved.std(dim=0).numpy() == pytest.approx(codes.std(dim=0).sqrt().numpy(), rel=0.1)


def test_gathering_by_hand() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(40, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = gathered(torch.from_numpy(points)).numpy()
    for _ in range(2):
        alike = points @ points.T
        np.fill_diagonal(alike, -2)
        nearest = np.argsort(-alike, axis=1)[:, :10]
        points = points + points[nearest].mean(axis=1)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(found, points, atol=1e-10)


def test_gathering_few_points() -> None:
    for count in (1, 2, 5):
        assert gathered(torch.eye(8)[:count]).isfinite().all()


def test_the_head_tells_the_domains_of_other_images() -> None:
    x, _ = crowds([150, 75, 75])
    domains = find_domains(x, 3, np.random.default_rng(0))
    head = torch.nn.Linear(64, 3).double()
    fit_domain_head(head, x[::2], domains[::2])
    assert (head(x[::2]).argmax(dim=1) == domains[::2]).all()
    assert (head(x[1::2]).argmax(dim=1) == domains[1::2]).double().mean() > 0.95
    fit_domain_head(head, torch.stack([x, x + 0.1]), domains)
    assert (head(x).argmax(dim=1) == domains).all()
