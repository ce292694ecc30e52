"""model.py: whole pictures, masks, and colours with a strength of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted import counted
from PIL import Image
from torch import Tensor
from untrained import untrained

from open_tunit import TUNIT
from open_tunit.media.images import to_tensor, to_uint8
from open_tunit.media.pictures import Opened, Source
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


@torch.no_grad()
def _at(model: TUNIT, opened: Opened, code: Tensor, strength: float) -> Tensor:
    """The content itself at 0, its translation at 1, between them with a code between its own and the other."""
    x = opened.content[None]
    weights = square_weights(x)
    own = model.style([opened])
    return x if strength == 0 else model.G.decode(model.G.encode(x, weights), torch.lerp(own, code, strength), weights)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("strength", "colours", "ends"),
    [(1.0, "source", (1, 0)), (1.0, "reference", (0, 1)), (1.0, 0.5, (1, 0.5)), (0.5, "source", (0.5, 0))],
)
def test_colours_of_the_one_and_the_rest_of_the_other(
    model: TUNIT, files: list[Path], whole: bool, strength: float, colours: Any, ends: tuple[float, float]
) -> None:
    picture = _noise(48, SIZE)
    opened, code = model.open(Source(picture, whole=whole)), model.style(files[-1])
    shape, other = (_at(model, opened, code, end) for end in ends)
    expected = opened.with_output(with_colours_of(shape, other)[0])
    found = model.translate(picture, files[-1], strength=strength, colours=colours, whole=whole)
    assert _apart(found, expected) <= 1
    assert _apart(found, model.translate(picture, files[-1], strength=strength, whole=whole)) > 10


def _apart(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures, of 255."""
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def test_colours_are_each_pairs_own(model: TUNIT, files: list[Path]) -> None:
    sources, references = files[:2], files[2:4]
    together = model.translate(sources, references, colours="source")
    for drawn, source, reference in zip(together, sources, references, strict=True):
        alone = model.translate(source, reference, colours="source")
        assert _apart(drawn, alone) <= 1


def test_many_with_many_have_colours(model: TUNIT, files: list[Path]) -> None:
    styles = model.style(files[2:4])
    drawn = list(model.redraw_all(files[:2], styles, strength=strengths(1.0, "source")))
    for place, found in enumerate(drawn):
        expected = model.translate(files[place // 2], files[2 + place % 2], colours="source")
        assert _apart(found, expected) <= 1


@pytest.mark.parametrize(("strength", "colours"), [(0.5, None), (0.7, 0.3)])
def test_pictures_of_several_shapes_have_their_own_codes(model: TUNIT, strength: float, colours: Any) -> None:
    wide, high, other = _noise(48, SIZE), _noise(SIZE, 56), _noise(48, SIZE).transpose(Image.Transpose.ROTATE_180)
    several = [wide, high, other, high.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    how = {"domain": 1, "strength": strength, "colours": colours, "whole": True}
    for drawn, picture in zip(model.translate(several, **how), several, strict=True):
        alone = model.translate(picture, **how)
        assert _apart(drawn, alone) <= 1


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("kept", ["mask", "transparent", "both"])
def test_colours_are_those_of_what_is_redrawn(model: TUNIT, whole: bool, kept: str) -> None:
    """Neither those that the mask keeps, nor those that are transparent."""
    width = 2 * SIZE if whole else SIZE
    picture = _noise(width, SIZE)
    picture.paste("#ff0000", (width // 2, 0, width, SIZE))
    mask, through = Image.new("L", picture.size), Image.new("L", picture.size, 255)
    mask.paste(255, (0, 0, width // 2, SIZE))
    through.paste(0, (0, 0, width, SIZE // 2))
    counts = torch.ones(1, 1, SIZE, width)
    if kept != "transparent":
        counts[..., width // 2 :] = 0
    if kept != "mask":
        counts[..., : SIZE // 2, :] = 0
        picture.putalpha(through)
    source = Source(picture, whole=whole, mask=None if kept == "transparent" else mask)
    opened, code = model.open(source), model.domain_styles[1][None]
    expected = opened.with_output(with_colours_of(_at(model, opened, code, 1), _at(model, opened, code, 0), counts)[0])
    (found,) = model.redraw([source], code, strength=strengths(1.0, "source"))
    assert _apart(found, expected) <= 1
    everything = with_colours_of(_at(model, opened, code, 1), _at(model, opened, code, 0))[0]
    assert _apart(found, opened.with_output(everything)) > 10


def test_each_picture_counts_by_its_own_mask(model: TUNIT) -> None:
    codes = model.domain_styles[:2]
    sources = []
    for left in (0, SIZE // 2):
        mask = Image.new("L", (SIZE, SIZE))
        mask.paste(255, (left, 0, left + SIZE // 2, SIZE))
        picture = _noise(SIZE, SIZE)
        picture.paste("#ff0000", (0, 0, SIZE // 2, SIZE // 2))
        sources.append(Source(picture, mask=mask))
    together = list(model.redraw_all(sources, codes, strength=strengths(1.0, "source")))
    for place, found in enumerate(together):
        (alone,) = model.redraw([sources[place // 2]], codes[place % 2][None], strength=strengths(1.0, "source"))
        assert _apart(found, alone) <= 1


def test_the_bars_of_a_padded_picture_have_no_colours() -> None:
    model = untrained()
    model.fit = "pad"
    picture, code = _noise(SIZE, SIZE // 2), model.domain_styles[1][None]
    opened = model.open(picture)
    counts = torch.zeros(1, 1, SIZE, SIZE)
    counts[..., SIZE // 4 : -SIZE // 4, :] = 1
    drawn = with_colours_of(_at(model, opened, code, 1), _at(model, opened, code, 0), counts)
    (found,) = model.redraw([picture], code, strength=strengths(1.0, "source"))
    assert _apart(found, opened.with_output(drawn[0])) <= 1


def test_tensors_have_colours_too(model: TUNIT) -> None:
    x = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = model.translate(x, domain=1)
    assert torch.equal(model.translate(x, domain=1, colours="source"), with_colours_of(drawn, x))
