"""smoothing.py: translated frames mixed with those before, along the source's motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from open_tunit.translation.smoothing import OUTPUT_ALIKE, SHARE, Smoother

RANDOM = torch.Generator().manual_seed(0)
SCENE, DRAWN = torch.rand(2, 3, 80, 80, generator=RANDOM) * 2 - 1


def _window(y: int, x: int, scene: Tensor) -> Tensor:
    return scene[:, y : y + 48, x : x + 48]


def test_brightness_of_a_still_scene_settles() -> None:
    smoother, still = Smoother(), _window(0, 0, SCENE)
    expected = level = 0.0
    for level in (0.0, 0.04, -0.02, 0.4):
        drawn = torch.full_like(still, level)
        share = SHARE * math.exp(-(((level - expected) / OUTPUT_ALIKE) ** 2))
        expected = share * expected + (1 - share) * level
        torch.testing.assert_close(smoother(still, drawn), torch.full_like(still, expected))
    assert expected > 0.39  # what changes much changes at once


def test_what_moves_is_followed() -> None:
    smoother = Smoother()
    smoother(_window(10, 10, SCENE), _window(10, 10, DRAWN))
    after = smoother(_window(12, 13, SCENE), _window(12, 13, DRAWN))
    torch.testing.assert_close(after[:, 8:-8, 8:-8], _window(12, 13, DRAWN)[:, 8:-8, 8:-8])


def test_a_cut_is_not_smoothed() -> None:
    smoother, other = Smoother(), torch.rand(3, 48, 48, generator=RANDOM) * 2 - 1
    smoother(_window(0, 0, SCENE), torch.full((3, 48, 48), -1.0))
    drawn = torch.full((3, 48, 48), 1.0)
    assert (smoother(other, drawn) - drawn).abs().max() < 1e-3
