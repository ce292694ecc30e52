"""flicker.py: what is left of the difference of frames when the motion is taken out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from open_tunit.metrics.flicker import flicker
from open_tunit.metrics.motion import REACH

SCENE, OTHER = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _window(x: int, y: int, scene: Tensor = SCENE) -> Tensor:
    return scene[:, y : y + 40, x : x + 48]


def test_motion_within_reach_is_no_flicker() -> None:
    path = [(10, 10), (10 + REACH, 10), (10 + REACH, 10 + REACH), (11, 13)]
    still, moving = _window(0, 0), [_window(*place) for place in path]
    assert flicker((still, still) for _ in range(3)) == [0, 0]
    (found,) = flicker((frame,) for frame in moving)
    plain = 127.5 * float(torch.stack([(a - b).abs().mean() for a, b in itertools.pairwise(moving)]).mean())
    assert plain > 80
    assert found < 0.25 * plain  # blocks at the edges come from outside


def test_brightness_that_changes_is_flicker() -> None:
    scene, other = _window(5, 5), _window(20, 20)
    still, flickering = flicker((scene, other + level) for level in (0.0, 0.25, 0.0, 0.5))
    assert still == 0
    assert flickering == pytest.approx(127.5 * (0.25 + 0.25 + 0.5) / 3)


def test_the_motion_is_the_first_films() -> None:
    places = [(10, 10), (12, 13), (13, 11)]
    source, follows, stays = flicker((_window(*p), _window(*p, OTHER), _window(10, 10, OTHER)) for p in places)
    assert follows < 0.25 * stays
    assert source < 0.25 * stays


def test_one_frame_has_none() -> None:
    with pytest.raises(ValueError, match="two frames"):
        flicker([(SCENE,)])
