"""conversions.py: what reading a file shows of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_files import encoded, picture
from PIL import Image

from open_tunit.media.conversions import CONVERSIONS, Seen
from open_tunit.media.images import read_image, read_layers


def _seen(path: Path, content: bytes, **options: int) -> Seen:
    path.write_bytes(content)
    seen = Seen()
    read_image(path, seen=seen, **options)
    assert set(seen.conversions) <= set(CONVERSIONS)
    return seen


def test_a_plain_picture_needs_no_conversion(tmp_path: Path) -> None:
    assert _seen(tmp_path / "a.png", encoded(picture(), "PNG")) == Seen("PNG", (48, 40), [])


def test_the_size_is_the_files_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture(0, (400, 300)), "JPEG", exif=exif)
    assert _seen(tmp_path / "a.jpg", content, at_least=16) == Seen("JPEG", (300, 400), ["orientation"])
    exif[0x0112] = 3
    content = encoded(picture(0, (400, 300)), "JPEG", exif=exif)
    assert _seen(tmp_path / "a.jpg", content) == Seen("JPEG", (400, 300), ["orientation"])
    exif[0x0112] = 1
    assert _seen(tmp_path / "a.jpg", encoded(picture(), "JPEG", exif=exif)).conversions == []


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_more_than_one_frame(tmp_path: Path, kind: str) -> None:
    frames = [picture(seed) for seed in (1, 2, 3)]
    moving = _seen(tmp_path / "a", encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert moving.conversions[0] == "frames"
    assert "frames" not in _seen(tmp_path / "a", encoded(frames[0], kind)).conversions


def test_a_damaged_second_frame_leaves_the_first_readable(tmp_path: Path) -> None:
    frames = [picture(seed).quantize(16) for seed in (1, 2)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    second = content.index(b",", content.rindex(b"\x21\xf9"))
    expected = np.asarray(frames[0].convert("RGB"))
    for cut in (content[: second + 3], content[:second] + b"\xff" * 20):
        assert _seen(tmp_path / "a.gif", cut).kind == "GIF"
        assert np.array_equal(np.asarray(read_image(tmp_path / "a.gif", seen=Seen())), expected)


def test_what_is_opaque_has_no_transparency(tmp_path: Path) -> None:
    opaque = picture().convert("RGBA")
    assert _seen(tmp_path / "a.png", encoded(opaque, "PNG")).conversions == []
    opaque.putpixel((0, 0), (0, 0, 0, 9))
    assert _seen(tmp_path / "a.png", encoded(opaque, "PNG")).conversions == ["transparency"]


def test_looking_changes_no_pixel(tmp_path: Path) -> None:
    for seed, (kind, mode) in enumerate(
        [("PNG", "P"), ("GIF", "P"), ("JPEG", "CMYK"), ("TIFF", "LAB"), ("PNG", "I;16")]
    ):
        image = (
            picture(seed).convert("L").convert(mode)
            if mode == "I;16"
            else picture(seed).convert(mode if mode != "LAB" else "RGB")
        )
        (tmp_path / "a").write_bytes(encoded(image, kind))
        for plain, looked_at in zip(read_layers(tmp_path / "a"), read_layers(tmp_path / "a", seen=Seen()), strict=True):
            assert (plain is None) == (looked_at is None)
            if plain is not None and looked_at is not None:
                assert plain.tobytes() == looked_at.tobytes()
