"""Random views: colours against colorsys and formulas by hand, geometry by where a marker goes."""

from __future__ import annotations

import colorsys
import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data import views
from open_tunit.data.geometry import ATTEMPTS, CROP_ATTEMPTS
from open_tunit.data.views import Views

Array = NDArray[np.float64]
OFF = Views(flip=False, affine=False, crop=False, colour=False)
AFFINE = Views(flip=False, affine=True, crop=False, colour=False, geometry="continuous")
CROP = Views(flip=False, affine=False, crop=True, colour=False, geometry="continuous")
COLOUR = Views(flip=False, affine=False, crop=False, colour=True)
SIDE = 65
LUMA = np.array([0.299, 0.587, 0.114])


def draws(count: int, **values: float | list[float]) -> dict[str, Array]:
    """Draws in the middle of their ranges (nothing moves, no flip), but for those given."""
    middle: dict[str, Array] = {name: np.full(count, 0.5) for name in views.DRAWS}
    middle[ATTEMPTS] = np.full((count, CROP_ATTEMPTS, 2), 0.5)
    return middle | {name: np.broadcast_to(np.asarray(value, dtype=float), (count,)) for name, value in values.items()}


def pictures(count: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    """Float64 images in [-1, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 3, side, side)))


def marker(x: float, y: float) -> Tensor:
    """A soft dot at (x, y), in units of half the side from the centre, x to the right and y down."""
    grid = (2 * torch.arange(SIDE, dtype=torch.float64) + 1) / SIDE - 1
    dot = torch.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * 0.06**2))
    return (2 * dot - 1).expand(1, 3, SIDE, SIDE)


def found(image: Tensor) -> Array:
    """(x, y) of the dot's centre of mass."""
    weight = (image[0].mean(dim=0).numpy() + 1) / 2
    grid = (2 * np.arange(SIDE) + 1) / SIDE - 1
    return np.array([(weight * grid[None, :]).sum() / weight.sum(), (weight * grid[:, None]).sum() / weight.sum()])


def test_nothing_changes_when_everything_is_off() -> None:
    x = pictures()
    random = views.draw(np.random.default_rng(0), 2)
    assert torch.equal(views.plain_view(x, random, OFF), x)
    assert torch.equal(views.augmented_view(x, random, OFF), x)


def test_middling_draws_change_nothing() -> None:
    x = pictures()
    torch.testing.assert_close(views.augmented_view(x, draws(2), AFFINE), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(views.augmented_view(x, draws(2), COLOUR), x, rtol=0, atol=1e-12)


def test_rows_are_functions_of_the_generator_and_their_place() -> None:
    few, many = (views.draw(np.random.default_rng(7), count) for count in (4, 8))
    other = views.draw(np.random.default_rng(8), 4)
    assert tuple(few) == (*views.DRAWS, ATTEMPTS)
    assert few[ATTEMPTS].shape == (4, CROP_ATTEMPTS, 2)
    np.testing.assert_array_equal(few[ATTEMPTS], many[ATTEMPTS][:4])
    assert len(np.unique([*many[ATTEMPTS].ravel(), *other[ATTEMPTS].ravel()])) == 12 * 2 * CROP_ATTEMPTS
    plain = np.random.default_rng(7).random((8, len(views.DRAWS)))  # as before the crops had numbers of their own
    np.testing.assert_array_equal(np.stack([many[name] for name in views.DRAWS], axis=1), plain)
    for name in views.DRAWS:
        np.testing.assert_array_equal(few[name], many[name][:4])
        assert len({*many[name], *other[name]}) == 12  # every image its own
        assert ((many[name] >= 0) & (many[name] < 1)).all()


def test_x_is_flipped_for_half_of_the_draws() -> None:
    x = pictures(4)
    seen = views.plain_view(x, draws(4, flip=[0.0, 0.49, 0.5, 0.99]), Views())
    np.testing.assert_array_equal(seen[:2].numpy(), x[:2].numpy()[..., ::-1])
    assert torch.equal(seen[2:], x[2:])


def test_x_plus_is_flipped_by_its_own_draw() -> None:
    x = pictures()
    only_flip = Views(affine=False, crop=False, colour=False)
    seen = views.augmented_view(x, draws(2, flip=[0.9, 0.1], flip_plus=[0.1, 0.9]), only_flip)
    np.testing.assert_allclose(seen[0].numpy(), x[0].numpy()[..., ::-1], atol=1e-12)
    np.testing.assert_allclose(seen[1].numpy(), x[1].numpy(), atol=1e-12)


def test_the_domain_view_is_x_plus_unless_the_recipe_recolours_it() -> None:
    x, sent = pictures(2), draws(2, flip_plus=0.3)
    assert torch.equal(views.domain_view(x, sent, Views()), views.augmented_view(x, sent, Views()))
    recoloured = Views(domain_colour=True)
    assert torch.equal(views.domain_view(x, sent, recoloured), views.disguised_view(x, sent, recoloured))


def test_the_domain_view_is_mirrored_even_where_x_is_not() -> None:
    x = pictures(1)
    given = {"patch_width": 0.0, "patch_height": 0.0, "patch_x": 0.5, "patch_y": 0.5}
    straight, mirrored = (views.disguised_view(x, draws(1, flip_plus=draw, **given), OFF) for draw in (0.9, 0.1))
    torch.testing.assert_close(mirrored, straight.flip(3), rtol=0, atol=1e-9)
    assert not torch.allclose(mirrored, straight)


@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_a_turn_moves_a_marker_by_its_angle(draw: float) -> None:
    moved = found(views.augmented_view(marker(0.5, 0.1), draws(1, angle=draw), AFFINE))
    angle = math.atan2(moved[1], moved[0]) - math.atan2(0.1, 0.5)
    assert abs(math.degrees(angle)) == pytest.approx(abs(2 * draw - 1) * 20, abs=0.1)
    assert math.hypot(*moved) == pytest.approx(math.hypot(0.5, 0.1), abs=2e-3)


def test_turns_go_both_ways() -> None:
    one, other = (found(views.augmented_view(marker(0.5, 0.0), draws(1, angle=d), AFFINE))[1] for d in (0.1, 0.9))
    assert one == pytest.approx(-other, abs=1e-3)
    assert abs(one) > 0.1


@pytest.mark.parametrize(("name", "axis"), [("shift_x", 0), ("shift_y", 1)])
def test_a_shift_moves_a_marker_by_a_tenth_of_the_side(name: str, axis: int) -> None:
    moved = found(views.augmented_view(marker(0.1, -0.2), draws(1, **{name: 1.0}), AFFINE)) - [0.1, -0.2]
    assert abs(moved[axis]) == pytest.approx(0.2, abs=1e-3)
    assert moved[1 - axis] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("name", "axis"), [("shear_x", 0), ("shear_y", 1)])
def test_a_shear_moves_a_marker_by_its_tangent(name: str, axis: int) -> None:
    start = np.array([0.4, 0.4])
    moved = found(views.augmented_view(marker(*start), draws(1, **{name: 1.0}), AFFINE)) - start
    assert abs(moved[axis]) == pytest.approx(0.4 * math.tan(math.radians(10)), abs=2e-3)
    assert moved[1 - axis] == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(("ratio", "shape"), [(0.5, math.sqrt(0.99)), (0.0, 0.9), (1.0, 1.1)])
def test_a_crop_widens_what_it_keeps(ratio: float, shape: float) -> None:
    """Of area 0.9, with sides in the ratio 0.9 to 1.1 (log-uniform), neither longer than the picture's."""
    width, height = min(math.sqrt(0.9 * shape), 1), min(math.sqrt(0.9 / shape), 1)
    start = np.array([0.3, -0.4])
    seen = views.augmented_view(marker(*start), draws(1, area=0.0, ratio=ratio), CROP)
    np.testing.assert_allclose(found(seen), start / [width, height], atol=2e-3)


def test_a_crop_lies_anywhere_within_the_picture() -> None:
    side = math.sqrt(0.9 * math.sqrt(0.99))
    for draw, edge in ((0.0, -1), (1.0, 1)):
        seen = views.augmented_view(marker(0.3, 0.0), draws(1, area=0.0, crop_x=draw), CROP)
        np.testing.assert_allclose(found(seen), [(0.3 - edge * (1 - side)) / side, 0], atol=2e-3)


def test_flip_comes_after_crop_and_affine() -> None:
    both = Views(colour=False, geometry="continuous")
    given = {"angle": 0.9, "shift_x": 0.8, "area": 0.1, "crop_x": 0.2}
    x = marker(0.2, 0.3)
    straight = views.augmented_view(x, draws(1, flip_plus=0.9, **given), both)
    mirrored = views.augmented_view(x, draws(1, flip_plus=0.1, **given), both)
    torch.testing.assert_close(mirrored, straight.flip(3), rtol=0, atol=1e-9)


def test_outside_is_black_or_reflected() -> None:
    x = pictures(1, side=20)
    sent = draws(1, shift_x=1.0)  # two columns: the picture's or its mirror image's
    black = views.augmented_view(x, sent, AFFINE)
    reflected = views.augmented_view(x, sent, dataclasses.replace(AFFINE, outside="reflect"))
    left = bool((black[..., :2] == -1).all())
    assert left or bool((black[..., -2:] == -1).all())
    picture = x.numpy() if left else x.numpy()[..., ::-1]
    seen, turned = (view.numpy() if left else view.numpy()[..., ::-1] for view in (black, reflected))
    np.testing.assert_allclose(seen[..., 2:], picture[..., :-2], atol=1e-9)
    np.testing.assert_allclose(turned[..., 2:], picture[..., :-2], atol=1e-9)
    np.testing.assert_allclose(turned[..., :2], picture[..., 1::-1], atol=1e-9)


def test_hue_turns_as_in_colorsys() -> None:
    random = np.random.default_rng(0)
    pixels = np.concatenate([random.random((200, 3)), np.eye(3), 1 - np.eye(3), np.zeros((1, 3)), np.full((1, 3), 0.4)])
    turns = random.uniform(-0.5, 0.5, len(pixels))
    expected = []
    for (r, g, b), turn in zip(pixels, turns, strict=True):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        expected.append(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
    found = views.turn_hue(torch.from_numpy(pixels)[:, :, None, None], torch.from_numpy(turns)[:, None, None])
    np.testing.assert_allclose(found[..., 0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("draw", [0.0, 0.3, 1.0])
def test_brightness(draw: float) -> None:
    x = pictures()
    seen = views.augmented_view(x, draws(2, brightness=draw), COLOUR)
    factor = 0.6 + 0.8 * draw
    expected = np.clip((x.numpy() + 1) / 2 * factor, 0, 1) * 2 - 1
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("draw", [0.0, 0.3, 1.0])
def test_contrast_is_towards_the_images_mean_grey(draw: float) -> None:
    x = pictures()
    seen = views.augmented_view(x, draws(2, contrast=draw), COLOUR)
    factor = 0.6 + 0.8 * draw
    for n in range(2):
        image = (x[n].numpy() + 1) / 2
        grey = np.mean([LUMA @ image[:, i, j] for i in range(16) for j in range(16)])
        expected = np.clip(grey + factor * (image - grey), 0, 1) * 2 - 1
        np.testing.assert_allclose(seen[n].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("draw", [0.0, 0.3, 1.0])
def test_saturation_is_towards_the_pixels_grey(draw: float) -> None:
    x = pictures()
    seen = views.augmented_view(x, draws(2, saturation=draw), COLOUR)
    factor = 0.6 + 0.8 * draw
    image = (x.numpy() + 1) / 2
    grey = np.einsum("c,nchw->nhw", LUMA, image)[:, None]
    np.testing.assert_allclose(seen.numpy(), np.clip(grey + factor * (image - grey), 0, 1) * 2 - 1, atol=1e-7)


def test_hue_turns_by_an_eighth_at_most() -> None:
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(2, 3, 4, 4)
    seen = views.augmented_view(red, draws(2, hue=[0.0, 1.0]), COLOUR)
    for n, turn in enumerate((-0.125, 0.125)):
        expected = np.array(colorsys.hsv_to_rgb(turn % 1, 1, 1)) * 2 - 1
        np.testing.assert_allclose(seen[n, :, 2, 2].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("outside", ["black", "reflect"])
def test_views_stay_in_range(outside: str) -> None:
    x = pictures(64).float().sign()  # the extremes
    random = views.draw(np.random.default_rng(0), 64)
    view = Views(outside="reflect" if outside == "reflect" else "black")
    for seen in (views.augmented_view(x, random, view), views.disguised_view(x, random, view)):
        assert seen.shape == x.shape
        assert seen.dtype == torch.float32
        assert seen.abs().max() <= 1 + 1e-6


def test_every_image_has_its_own_parameters_and_no_neighbours() -> None:
    same = pictures(1).expand(8, 3, 16, 16)
    random = views.draw(np.random.default_rng(0), 8)
    seen = views.augmented_view(same, random, Views())
    for n in range(8):
        for m in range(n):
            assert (seen[n] - seen[m]).abs().mean() > 0.01
        alone = views.augmented_view(same[n : n + 1], {k: v[n : n + 1] for k, v in random.items()}, Views())
        torch.testing.assert_close(seen[n : n + 1], alone, rtol=0, atol=1e-12)


def test_the_domain_view_changes_colours_whatever_the_settings() -> None:
    red = torch.tensor([0.9, -0.5, -0.5])[None, :, None, None].expand(3, 3, 4, 4)
    seen = (views.disguised_view(red, draws(3, hue=[0.0, 0.1, 0.9], patch_x=0.0), OFF) + 1) / 2
    hues = [colorsys.rgb_to_hsv(*seen[n, :, 2, 3].tolist())[0] for n in range(3)]
    np.testing.assert_allclose(hues, [0.5, 0.6, 0.4], atol=1e-6)


def test_the_domain_view_turns_wider() -> None:
    seen = views.disguised_view(marker(0.5, 0.0), draws(1, angle=1.0, patch_x=0.0, patch_y=0.0), AFFINE)
    seen[:, :, : SIDE // 3, : SIDE // 3] = -1  # the hidden patch
    moved = found(seen)
    assert abs(math.degrees(math.atan2(moved[1], moved[0]))) == pytest.approx(25, abs=0.1)


def test_the_domain_view_greys_out_a_patch_of_its_drawn_size_and_place() -> None:
    white = torch.ones(1, 3, 20, 20, dtype=torch.float64)
    place = draws(1, patch_x=0.0, patch_y=1.0, patch_width=0.0, patch_height=1.0)
    grey = (views.disguised_view(white, place, OFF) == 0).all(dim=1)[0]
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[12:, :4] = True  # 0.4 of the height at the bottom, 0.2 of the width at the left
    assert torch.equal(grey, expected)


def test_the_choosing_view_zooms_further_than_the_domain_view() -> None:
    near = draws(1, area=0.0)
    sides = {}
    for name, view in (("domain", views.disguised_view), ("choosing", views.choosing_view)):
        x = torch.linspace(-1, 1, 65, dtype=torch.float64).expand(1, 3, 65, 65).clone()
        seen = view(x, near | draws(1, patch_x=0.0, patch_y=0.0, area=0.0), CROP)
        sides[name] = float((seen[0, 0, -1, -1] - seen[0, 0, -1, 40]) / (24 / 32))
    assert sides["domain"] == pytest.approx(0.65, abs=0.02)
    assert sides["choosing"] == pytest.approx(0.5, abs=0.02)


def test_the_content_view_changes_colours_and_moves_nothing() -> None:
    x = pictures(3)
    random = views.draw(np.random.default_rng(1), 3)
    seen = views.content_view(x, views.numbers(x, random, OFF))
    assert (seen - x).abs().mean() > 0.05
    place = marker(0.5, -0.25)
    moved = found(views.content_view(place, views.numbers(place, draws(1, angle=1.0, shift_x=1.0, hue=0.9), Views())))
    np.testing.assert_allclose(moved, found(marker(0.5, -0.25)), atol=1e-9)


def test_translations_are_moved_as_x_plus_is_with_their_colours_and_gradients() -> None:
    x = pictures(2).requires_grad_()
    random = views.draw(np.random.default_rng(2), 2)
    seen = views.translation_view(x, views.numbers(x, random, Views()), Views())
    torch.testing.assert_close(seen, views.augmented_view(x, random, Views(colour=False)), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(seen.sum(), x)
    assert gradient.abs().sum() > 0
