"""colour_transfer.py: beside scipy's matrix roots, and what a colour transfer must do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from open_tunit.networks.colour_transfer import FLOOR, with_colours_of


def _picture(seed: int, mixing: list[list[float]], mean: list[float], size: int = 24) -> Tensor:
    noise = torch.randn(3, size * size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = torch.tensor(mixing, dtype=torch.float64) @ noise + torch.tensor(mean, dtype=torch.float64)[:, None]
    return x.reshape(1, 3, size, size)


@pytest.fixture
def one() -> Tensor:
    return _picture(0, [[0.1, 0, 0], [0.05, 0.08, 0], [0, 0.02, 0.1]], [0.2, -0.1, 0])


@pytest.fixture
def other() -> Tensor:
    return _picture(1, [[0.05, 0, 0], [0.01, 0.12, 0], [0.06, 0, 0.04]], [-0.3, 0.2, 0.1], size=16)


def test_it_is_the_linear_monge_kantorovitch_map(one: Tensor, other: Tensor) -> None:
    x, y = (picture[0].flatten(1).numpy() for picture in (one, other))
    covariance, wanted = (np.cov(values, bias=True) + FLOOR * np.eye(3) for values in (x, y))
    root = scipy.linalg.sqrtm(covariance)
    inverse = np.linalg.inv(root)
    way = inverse @ scipy.linalg.sqrtm(root @ wanted @ root) @ inverse
    expected = way @ (x - x.mean(axis=1, keepdims=True)) + y.mean(axis=1, keepdims=True)
    found = with_colours_of(one, other)[0].flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_mean_and_covariance_are_the_others(one: Tensor, other: Tensor) -> None:
    found, wanted = with_colours_of(one, other)[0].flatten(1), other[0].flatten(1)
    assert torch.allclose(found.mean(dim=1), wanted.mean(dim=1), rtol=0, atol=1e-12)
    assert (torch.cov(found, correction=0) - torch.cov(wanted, correction=0)).abs().max() < 2 * FLOOR


def test_a_picture_keeps_its_own_colours(one: Tensor) -> None:
    assert torch.allclose(with_colours_of(one, one), one, rtol=0, atol=1e-9)


def test_each_picture_has_the_colours_of_its_own_other(one: Tensor, other: Tensor) -> None:
    small = one[..., :16, :16].float()
    both = with_colours_of(torch.cat([small, other.float()]), torch.cat([other.float(), small]))
    alone = with_colours_of(small, other.float()), with_colours_of(other.float(), small)
    assert both.dtype == torch.float32
    assert torch.equal(both, torch.cat(alone))


def test_flat_pictures_are_moved_and_not_amplified(other: Tensor) -> None:
    flat = torch.full((1, 3, 8, 8), 0.25, dtype=torch.float64)
    assert torch.allclose(with_colours_of(flat, other), other.mean(dim=(2, 3), keepdim=True).expand_as(flat))
    noisy = flat + torch.linspace(-1, 1, 64, dtype=torch.float64).reshape(8, 8) / 255
    drawn = with_colours_of(noisy, other)
    assert drawn.isfinite().all()
    most = (torch.linalg.eigvalsh(torch.cov(other[0].flatten(1))).max() / FLOOR + 1).sqrt()
    assert torch.linalg.vector_norm(drawn.std(dim=(2, 3))) <= most * torch.linalg.vector_norm(noisy.std(dim=(2, 3)))
    assert torch.allclose(with_colours_of(other, flat), flat[..., :1, :1].expand_as(other), atol=0.2)


def test_colours_stay_in_their_range(one: Tensor) -> None:
    bright = torch.where(one > 0, 1.0, -1.0)
    drawn = with_colours_of(one, bright)
    assert drawn.min() >= -1
    assert drawn.max() <= 1
