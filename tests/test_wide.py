"""wide.py: the weights of places by hand, and what they do to instance norm and to a translation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from untrained import untrained
from without_float64 import without_float64

from open_tunit.networks.inference import translations
from open_tunit.networks.ops.norms import NORM_EPS, adain, instance_norm
from open_tunit.networks.ops.wide import FLAT, along, square_weights


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def _weights(x: Tensor) -> Tensor:
    weights = square_weights(x)
    assert weights is not None
    return weights


def test_squares_have_none() -> None:
    assert square_weights(_noise(2, 3, 8, 8)) is None


def test_each_place_counts_by_its_squares() -> None:
    x = _noise(2, 3, 4, 7)
    x[1, :, :, :3] = 0.25
    for picture, found in zip(x, _weights(x), strict=True):
        squares = [picture[:, :, at : at + 4] for at in range(4)]
        variance = torch.stack([square.flatten(1).var(dim=1, correction=0).sum() + FLAT for square in squares])
        expected = torch.zeros(7, dtype=torch.float64)
        for at in range(4):
            expected[at : at + 4] += variance[at]
        torch.testing.assert_close(found, expected / expected.sum())


def test_high_pictures_are_wide_ones_turned() -> None:
    x = _noise(2, 3, 4, 9)
    torch.testing.assert_close(_weights(x), _weights(x.mT))
    torch.testing.assert_close(instance_norm(x, _weights(x)).mT, instance_norm(x.mT, _weights(x.mT)))


def test_all_places_of_a_flat_picture_count_alike_but_for_the_ends() -> None:
    weights = _weights(torch.full((1, 3, 2, 5), 0.5))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 2, 2, 2, 1]]) / 8)


@pytest.mark.parametrize("width", [12, 6])
def test_statistics_are_weighted(width: int) -> None:
    weights = torch.rand(2, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights /= weights.sum(dim=1, keepdim=True)
    x, shift, scale = _noise(2, 5, 4 * width // 12, width), _noise(2, 5, seed=1), _noise(2, 5, seed=2)
    each = weights if width == 12 else weights.unflatten(1, (6, 2)).sum(dim=2)
    counts = each[:, None, None, :] / x.shape[2]
    mean = (x * counts).sum(dim=(2, 3), keepdim=True)
    variance = ((x - mean).square() * counts).sum(dim=(2, 3), keepdim=True)
    normed = (x - mean) / (variance + NORM_EPS).sqrt()
    expected = normed * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(adain(x, shift, scale, weights), expected, rtol=1e-6, atol=1e-6)
    assert along(weights, x).shape == (2, 1, 1, width)


@torch.no_grad()
def test_empty_ground_beside_a_square_changes_its_translation_less() -> None:
    """An object on plain ground, and more of the ground; compared where the object is."""
    model = untrained()
    size = model.config.size
    thing = F.interpolate(_noise(1, 3, 4, 4).float(), size=(size // 2, size // 2), mode="bilinear")
    square = F.pad(thing, (size // 4, size // 4, size // 4, size // 4), value=0.9)
    wide = F.pad(square, (size, size), value=0.9)
    style = model.domain_styles[1][None, None]
    alone = next(translations(model.G, square, style, half=False))
    (found,) = translations(model.G, wide, style, half=False)
    unweighted = model.G(wide, style[0])

    def apart(drawn: Tensor) -> float:
        middle = slice(size // 4, -size // 4)
        return float((drawn[..., size:-size] - alone)[..., middle, middle].abs().mean())

    assert apart(found) < apart(unweighted) / 2


def test_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _noise(2, 3, 4, 9).float()
    expected = _weights(x)
    with without_float64(monkeypatch):
        assert torch.equal(_weights(x), expected)
