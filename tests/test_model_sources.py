"""model.py: whole pictures, masks, and colours with a strength of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted import counted
from PIL import Image
from untrained import untrained

from open_tunit import TUNIT
from open_tunit.media.images import to_tensor, to_uint8
from open_tunit.media.pictures import Source
from open_tunit.networks.colour_transfer import with_colours_of
from open_tunit.networks.ops.wide import square_weights
from open_tunit.networks.style_code import strengths

SIZE = 32


@pytest.fixture(scope="module")
def model() -> TUNIT:
    return untrained()


@pytest.fixture
def files(picture_folder: Path) -> list[Path]:
    return sorted(picture_folder.iterdir())


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@torch.no_grad()
def test_a_whole_picture_is_redrawn_by_the_network_itself(model: TUNIT) -> None:
    picture = _noise(48, SIZE)  # at the model's scale, and a multiple of its cells
    drawn = np.asarray(model.translate(picture, domain=1, whole=True), dtype=int)
    x = to_tensor(picture)[None]
    weights = square_weights(x)
    expected = to_uint8(model.G.decode(model.G.encode(x, weights), model.domain_styles[1][None], weights))[0]
    assert np.abs(drawn - expected).max() <= 1
    assert not np.array_equal(drawn, np.asarray(model.translate(picture, domain=1)))


@pytest.mark.parametrize("width", [48, 53, 100])
def test_there_is_no_seam(model: TUNIT, width: int) -> None:
    """Where all columns of a picture are alike, so are those of its translation, up to its edges."""
    column = np.random.default_rng(0).integers(0, 256, (SIZE, 1, 3), dtype=np.uint8)
    picture = Image.fromarray(np.repeat(column, width, axis=1))
    drawn = np.asarray(model.translate(picture, domain=1, whole=True), dtype=int)
    assert np.abs(drawn - drawn[:, :1]).max() <= 1
    assert np.abs(drawn - np.asarray(picture)).max() > 50


def test_a_square_picture_is_whole_already(model: TUNIT) -> None:
    picture = _noise(50, 50)
    whole = model.translate(picture, domain=1, whole=True)
    assert np.array_equal(np.asarray(whole), np.asarray(model.translate(picture, domain=1)))


def test_whole_pictures_of_any_shape_come_one_after_the_other(model: TUNIT) -> None:
    pictures = [_noise(90, 60), _noise(45, 30), _noise(33, 80), _noise(40, 40)]
    drawn = model.translate(pictures, domain=1, whole=True)
    assert [one.size for one in drawn] == [one.size for one in pictures]
    for one, picture in zip(drawn, pictures, strict=True):
        alone = np.asarray(model.translate(picture, domain=1, whole=True), dtype=int)
        assert np.abs(np.asarray(one, dtype=int) - alone).max() <= 1
    with counted(model) as networks:
        list(model.redraw_all([Source(one, whole=True) for one in pictures], model.domain_styles[:2], strength=0.5))
    assert networks == {"E": 4, "encoder": 4, "decoder": 8}


def test_a_whole_pictures_own_style_is_that_of_its_square(model: TUNIT) -> None:
    picture = _noise(90, 60)
    unchanged = model.translate(picture, domain=1, strength=0, whole=True)
    (expected,) = model.redraw(Source(picture, whole=True), model.style(picture))
    assert np.array_equal(np.asarray(unchanged), np.asarray(expected))


def test_masks_go_with_their_sources(model: TUNIT, files: list[Path]) -> None:
    white, black = Image.new("L", (48, 40), 255), Image.new("L", (48, 40), 0)
    first, second = model.translate(files[:2], domain=1, mask=[white, black])
    assert np.array_equal(np.asarray(first), np.asarray(model.translate(files[0], domain=1)))
    with Image.open(files[1]) as source:
        assert np.array_equal(np.asarray(second), np.asarray(source))
    both = model.translate(files[:2], domain=1, mask=black)
    for drawn, file in zip(both, files[:2], strict=True):
        with Image.open(file) as source:
            assert np.array_equal(np.asarray(drawn), np.asarray(source))


def test_tensors_have_neither(model: TUNIT) -> None:
    for options in ({"whole": True}, {"mask": Image.new("L", (SIZE, SIZE))}):
        with pytest.raises(ValueError, match="tensors"):
            model.translate(torch.zeros(1, 3, SIZE, SIZE), domain=1, **options)


@pytest.mark.parametrize("whole", [False, True])
def test_colours_of_the_one_and_the_rest_of_the_other(model: TUNIT, files: list[Path], whole: bool) -> None:
    """A strength of 0 is the source itself, 1 its translation."""
    picture = _noise(48, SIZE) if whole else _noise(SIZE, SIZE)
    x, (drawn, half) = (
        _both(picture),
        (_both(model.translate(picture, files[-1], strength=strength, whole=whole)) for strength in (1, 0.5)),
    )
    for strength, colours, shape, other in (
        (1.0, "source", drawn, x),
        (1.0, "reference", x, drawn),
        (1.0, 0.5, drawn, half),
        (0.5, "source", half, x),
    ):
        found = model.translate(picture, files[-1], strength=strength, colours=colours, whole=whole)
        expected = to_uint8(with_colours_of(shape, other))[0].astype(int)
        assert np.abs(np.asarray(found, dtype=int) - expected).max() <= 2
        assert not np.array_equal(np.asarray(found), to_uint8(drawn)[0])


def _both(picture: Image.Image) -> torch.Tensor:
    return to_tensor(picture)[None]


def test_colours_are_each_pairs_own(model: TUNIT, files: list[Path]) -> None:
    sources, references = files[:2], files[2:4]
    together = model.translate(sources, references, colours="source")
    for drawn, source, reference in zip(together, sources, references, strict=True):
        alone = model.translate(source, reference, colours="source")
        assert np.abs(np.asarray(drawn, dtype=int) - np.asarray(alone, dtype=int)).max() <= 1


def test_many_with_many_have_colours(model: TUNIT, files: list[Path]) -> None:
    styles = model.style(files[2:4])
    drawn = list(model.redraw_all(files[:2], styles, strength=strengths(1.0, "source")))
    for place, found in enumerate(drawn):
        expected = model.translate(files[place // 2], files[2 + place % 2], colours="source")
        assert np.abs(np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1


@pytest.mark.parametrize(("strength", "colours"), [(0.5, None), (0.7, 0.3)])
def test_pictures_of_several_shapes_have_their_own_codes(model: TUNIT, strength: float, colours: Any) -> None:
    wide, high, other = _noise(48, SIZE), _noise(SIZE, 56), _noise(48, SIZE).transpose(Image.Transpose.ROTATE_180)
    several = [wide, high, other, high.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    how = {"domain": 1, "strength": strength, "colours": colours, "whole": True}
    for drawn, picture in zip(model.translate(several, **how), several, strict=True):
        alone = model.translate(picture, **how)
        assert np.abs(np.asarray(drawn, dtype=int) - np.asarray(alone, dtype=int)).max() <= 1


@pytest.mark.parametrize("whole", [False, True])
def test_colours_are_those_of_what_is_redrawn(model: TUNIT, whole: bool) -> None:
    """Neither those that the mask keeps, nor those that are transparent."""
    width = 2 * SIZE if whole else SIZE
    picture = Image.new("RGB", (width, SIZE), "#ff0000")
    half = _noise(width // 2, SIZE)
    picture.paste(half, (0, 0))
    mask = Image.new("L", picture.size)
    mask.paste(255, (0, 0, width // 2, SIZE))
    through = picture.copy()
    through.putalpha(mask)
    full = np.asarray(model.translate(picture, domain=1, whole=whole))
    x, drawn = (to_tensor(Image.fromarray(np.asarray(each)))[None] for each in (picture, full))
    counts = to_tensor(mask)[None, :1] / 2 + 0.5
    expected = to_uint8(with_colours_of(drawn, x, counts))[0].astype(int)
    found = np.asarray(model.translate(picture, domain=1, whole=whole, mask=mask, colours="source"), dtype=int)
    inside = np.asarray(mask) > 0
    assert np.abs(found - expected)[inside].max() <= 4
    assert np.abs(found.mean(axis=(0, 1)) - np.asarray(picture, dtype=int).mean(axis=(0, 1))).max() < 8
    over = np.asarray(model.translate(through, domain=1, whole=whole, colours="source"), dtype=int)
    kept = over[inside][:, :3].mean(axis=0) - np.asarray(half, dtype=int).mean(axis=(0, 1))
    assert np.abs(kept).max() < 8


def test_tensors_have_colours_too(model: TUNIT) -> None:
    x = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = model.translate(x, domain=1)
    assert torch.equal(model.translate(x, domain=1, colours="source"), with_colours_of(drawn, x))
