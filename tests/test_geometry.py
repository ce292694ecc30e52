"""geometry.py: the published geometry against its description, an image and a number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from open_tunit.data import geometry, views
from open_tunit.data.geometry import ATTEMPTS, CROP_ATTEMPTS, Draws, Moves
from open_tunit.data.views import Views
from open_tunit.settings.recipes import OURS, PAPER, PRETRAINED

AFFINE, CROP, MIRROR = Moves(True, False, False), Moves(False, True, False), Moves(False, False, True)


def drawn(count: int, seed: int = 0) -> Draws:
    return views.draw(np.random.default_rng(seed), count)


def whole(maps: np.ndarray | None) -> np.ndarray:
    """(N, 3, 3) of (N, 2, 3)."""
    assert maps is not None
    return np.concatenate([maps, np.tile([[[0.0, 0.0, 1.0]]], (len(maps), 1, 1))], axis=1)


@pytest.mark.parametrize("side", [32, 128])
def test_the_affine_map_undoes_shear_along_x_then_rotation_then_a_shift_by_whole_pixels(side: int) -> None:
    random = drawn(50)
    maps = whole(geometry.published(random, AFFINE, side))
    for n in range(50):
        angle = -math.radians(20) * (2 * random["angle"][n] - 1)
        shear = math.radians(10) * (2 * random["shear_x"][n] - 1)
        shift = [round(0.1 * side * (2 * random[name][n] - 1)) for name in ("shift_x", "shift_y")]
        turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        forward = np.eye(3)
        forward[:2, :2] = turned @ [[1, -math.tan(shear)], [0, 1]]
        forward[:2, 2] = [2 * pixels / side for pixels in shift]
        np.testing.assert_allclose(maps[n] @ forward, np.eye(3), atol=1e-12)


def crop_by_rejection(attempts: np.ndarray, x: float, y: float, side: int) -> tuple[int, int, int, int]:
    """Left, top, width and height, by the rule of torchvision's RandomResizedCrop."""
    for area_draw, ratio_draw in attempts:
        area = side * side * (0.9 + 0.2 * area_draw)
        ratio = math.exp(math.log(0.9) + ratio_draw * (math.log(1.1) - math.log(0.9)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= side and 0 < height <= side:
            return int(x * (side - width + 1)), int(y * (side - height + 1)), width, height
    return 0, 0, side, side


@pytest.mark.parametrize("side", [32, 128])
def test_crops_are_drawn_until_one_fits(side: int) -> None:
    random = drawn(400, seed=1)
    random[ATTEMPTS][:5] = 0.99  # areas of 1.1 never fit
    maps = whole(geometry.published(random, CROP, side))
    found = set()
    for n in range(400):
        left, top, width, height = crop_by_rejection(
            random[ATTEMPTS][n], random["crop_x"][n], random["crop_y"][n], side
        )
        for corner, pixels in (((-1, -1), (left, top)), ((1, 1), (left + width, top + height))):
            seen = (maps[n] @ [*corner, 1])[:2]
            np.testing.assert_allclose((seen + 1) * side / 2, pixels, atol=1e-9)
        found.add((left, top, width, height))
    np.testing.assert_array_equal(maps[:5], np.tile(np.eye(3), (5, 1, 1)))
    assert len(found) > 30


def test_a_whole_picture_is_as_rare_as_ten_rejections() -> None:
    """At 512 px, where rounding hardly counts: 0.257 of the crops fit, by the integral over area and ratio."""
    maps = whole(geometry.published(drawn(20_000, seed=2), CROP, 512))
    unmoved = (np.abs(maps - np.eye(3)).max(axis=(1, 2)) == 0).mean()
    assert unmoved == pytest.approx((1 - 0.262) ** CROP_ATTEMPTS, abs=0.008)


def test_affine_comes_first_then_crop_then_mirror() -> None:
    random = drawn(20)
    each = [whole(geometry.published(random, moves, 64)) for moves in (AFFINE, CROP, MIRROR)]
    together = whole(geometry.published(random, Moves(True, True, True), 64))
    np.testing.assert_allclose(together, each[0] @ each[1] @ each[2], atol=1e-12)
    assert geometry.published(random, Moves(False, False, False), 64) is None


def test_the_paper_alone_moves_as_published() -> None:
    assert [recipe.geometry for recipe in (PAPER, OURS, PRETRAINED)] == ["published", "continuous", "continuous"]
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (6, 3, 32, 32)))
    random = drawn(6)
    seen = views.augmented_view(x, random, Views(colour=False))
    maps = geometry.published(random, Moves(True, True, True), 32)
    grid = torch.nn.functional.affine_grid(torch.from_numpy(maps), [6, 3, 32, 32], align_corners=False)
    expected = torch.nn.functional.grid_sample(x + 1, grid, align_corners=False) - 1
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(seen, views.augmented_view(x, random, Views(colour=False, geometry="continuous")))
