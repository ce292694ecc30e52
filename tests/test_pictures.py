"""pictures.py: what of a picture is redrawn; outside a mask each pixel stays the source's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

from open_tunit.media.images import RefusedPicture, UnreadableImage, save_image
from open_tunit.media.pictures import Frame, Opened, Source, open_picture, read_mask, to_redraw


def _frame(fit: Literal["crop", "pad", "squash"] = "crop") -> Frame:
    return Frame(size=32, fit=fit, background="#ffffff", multiple=8)


def _noise(mode: str, width: int = 61, height: int = 37) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze())


def _mask(width: int = 61, height: int = 37) -> Image.Image:
    levels = np.random.default_rng(2).choice(np.array([0, 0, 1, 128, 254, 255], dtype=np.uint8), (height, width))
    return Image.fromarray(levels)


def _drawn(opened: Opened) -> Image.Image:
    """With an output that nothing in the picture resembles."""
    return opened.with_output(torch.linspace(-1, 1, opened.content.numel()).reshape(opened.content.shape))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_outside_the_mask_each_pixel_is_the_sources(tmp_path: Path, mode: str, whole: bool, fit: Any) -> None:
    picture, mask = _noise(mode), _mask()
    save_image(_drawn(open_picture(Source(picture, whole, mask), _frame(fit))), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == ("RGB" if mode == "L" else mode)
        drawn, before = np.asarray(saved), np.asarray(picture.convert(saved.mode))
    outside = np.asarray(mask) == 0
    assert np.array_equal(drawn[outside], before[outside])
    free = np.asarray(_drawn(open_picture(Source(picture, whole), _frame(fit))))
    inside = np.asarray(mask) == 255
    if mode == "RGBA" and fit == "crop" and not whole:  # beside the square nothing is drawn
        inside[:, :12] = inside[:, -12:] = False
    assert np.array_equal(drawn[inside], free[inside])
    assert not np.array_equal(drawn[inside], before[inside])


def test_grey_blends() -> None:
    picture, grey = _noise("RGB"), Image.new("L", (61, 37), 64)
    before, free = (np.asarray(one, dtype=float) for one in (picture, _drawn(open_picture(picture, _frame("squash")))))
    drawn = np.asarray(_drawn(open_picture(Source(picture, mask=grey), _frame("squash"))), dtype=float)
    assert np.abs(drawn - (before + (free - before) * 64 / 255)).max() <= 1


def test_the_alpha_channel_as_a_mask() -> None:
    picture = _noise("RGBA")
    clear = np.random.default_rng(3).random((37, 61)) < 0.5
    alpha = np.where(clear, 0, 255).astype(np.uint8)
    picture.putalpha(Image.fromarray(alpha))
    drawn = np.asarray(_drawn(open_picture(Source(picture, mask="alpha"), _frame("squash"))))
    assert np.array_equal(drawn[..., 3], alpha)
    assert np.array_equal(drawn[clear], np.asarray(picture)[clear])
    assert not np.array_equal(drawn[~clear], np.asarray(picture)[~clear])
    for opaque in (_noise("RGB"), Image.new("RGBA", (8, 8))):
        opaque.putalpha(255)
        with pytest.raises(RefusedPicture, match="no transparent pixels"):
            open_picture(Source(opaque, mask="alpha"), _frame())


def test_a_file_called_alpha_is_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _mask().save("alpha", format="PNG")
    opened = open_picture(Source(_noise("RGB"), mask=Path("alpha")), _frame())
    assert opened.mask is not None
    assert np.array_equal(np.asarray(opened.mask), np.asarray(_mask()))


@pytest.mark.parametrize("size", [(122, 74), (30, 18), (61, 38)])
def test_a_mask_of_the_same_aspect_is_scaled(size: tuple[int, int]) -> None:
    halves = Image.new("L", size)
    halves.paste(255, (size[0] // 2, 0, *size))
    opened = open_picture(Source(_noise("RGB"), mask=halves), _frame())
    assert opened.mask is not None
    scaled = np.asarray(opened.mask)
    assert scaled.shape == (37, 61)
    assert scaled[:, :28].max() == 0
    assert scaled[:, 34:].min() == 255


@pytest.mark.parametrize("size", [(37, 61), (61, 40), (64, 64)])
def test_a_mask_of_another_aspect_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "m.png")
    _noise("RGB").save(tmp_path / "a.png")
    with pytest.raises(RefusedPicture) as caught:
        open_picture(Source(tmp_path / "a.png", mask=tmp_path / "m.png"), _frame())
    for named in ("a.png", "61 x 37", "m.png", "{} x {}".format(*size)):
        assert named in str(caught.value)


def test_masks_of_other_modes(tmp_path: Path) -> None:
    for mode in ("1", "L", "RGB", "P", "I;16"):
        ramp = Image.linear_gradient("L").convert(mode)
        assert np.abs(np.asarray(read_mask(ramp), dtype=int) - np.asarray(ramp.convert("L"))).max() <= (
            0 if mode != "I;16" else 255
        )
    clear = Image.new("LA", (2, 1), (255, 0))
    clear.putpixel((1, 0), (255, 255))
    assert read_mask(clear).tobytes() == b"\x00\xff"
    with pytest.raises(FileNotFoundError):
        read_mask(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UnreadableImage):
        read_mask(tmp_path / "text.png")


def test_a_picture_that_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("RGB", (100, 5)).save(tmp_path / "long.png")
    assert open_picture(tmp_path / "long.png", _frame()).content.shape == (3, 32, 32)
    with pytest.raises(RefusedPicture, match=r"long\.png has 100 x 5 pixels"):
        open_picture(Source(tmp_path / "long.png", whole=True), _frame())


def test_sources_and_masks_that_do_not_pair() -> None:
    picture, mask = _noise("RGB"), _mask()
    assert to_redraw(picture, whole=False, mask=None) is picture
    both = to_redraw([picture, picture], whole=True, mask=[mask, "alpha"])
    assert isinstance(both, list)
    assert [(source.whole, source.mask) for source in both if isinstance(source, Source)] == [
        (True, mask), (True, "alpha"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="2 sources and 1 masks"):
        to_redraw([picture, picture], whole=False, mask=[mask])
    with pytest.raises(ValueError, match="whole"):
        to_redraw(torch.zeros(1, 3, 32, 32), whole=True, mask=None)
    with pytest.raises(ValueError, match="opened"):
        to_redraw(open_picture(picture, _frame()), whole=True, mask=None)
