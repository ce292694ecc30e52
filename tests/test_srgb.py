"""srgb.py: depths, modes and colour profiles, against littleCMS and by hand."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from open_tunit import TUNIT
from open_tunit.media import srgb
from open_tunit.media.images import read_image, read_layers, save_image
from open_tunit.media.srgb import to_srgb

COLOUR = (40, 200, 60)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _profile(space: bytes, gamma: float, primaries: dict[bytes, tuple[float, float, float]]) -> bytes:
    """A small ICC profile: white of D50, these primaries, one gamma."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + bytes(79)
    tags = [(b"desc", text), (b"cprt", b"text\0\0\0\0none\0\0\0\0"), (b"wtpt", xyz(0.9642, 1, 0.8249))]
    tags += [(name, xyz(*values)) for name, values in primaries.items()]
    tags += [(name[:1] + b"TRC", curve) for name in primaries] or [(b"kTRC", curve)]
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags:
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value
    head = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + b"\x02\x40\0\0" + b"mntr" + space + b"XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642) + fixed(1) + fixed(0.8249)
    return head + bytes(128 - len(head)) + table + body


WIDE = _profile(
    b"RGB ",
    2.2,
    {b"rXYZ": (0.60974, 0.31111, 0.01947), b"gXYZ": (0.20528, 0.62567, 0.06087), b"bXYZ": (0.14919, 0.06322, 0.74457)},
)
GREY = _profile(b"GRAY", 1.0, {})


@pytest.fixture
def stored() -> Image.Image:
    """COLOUR as the wide profile stores it."""
    wide = ImageCms.ImageCmsProfile(io.BytesIO(WIDE))
    return ImageCms.profileToProfile(Image.new("RGB", (60, 40), COLOUR), SRGB, wide)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_an_embedded_profile_is_converted_and_dropped(tmp_path: Path, stored: Image.Image, name: str) -> None:
    options = {"lossless": True} if name == "a.webp" else {"quality": 100}
    stored.save(tmp_path / name, icc_profile=WIDE, **options)
    assert np.abs(np.subtract(stored.getpixel((1, 1)), COLOUR)).max() > 20
    picture = read_image(tmp_path / name)
    assert np.abs(np.subtract(picture.getpixel((1, 1)), COLOUR)).max() <= 3
    assert picture.info == {}


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_palettes_and_transparency_under_a_profile(tmp_path: Path, stored: Image.Image, mode: str) -> None:
    picture = stored.quantize(4) if mode == "P" else stored.convert(mode)
    if mode == "RGBA":
        picture.putpixel((59, 39), (0, 0, 0, 0))
    picture.save(tmp_path / "a.png", icc_profile=WIDE)
    colours, alpha = read_layers(tmp_path / "a.png")
    assert np.abs(np.subtract(colours.getpixel((1, 1)), COLOUR)).max() <= 6
    assert (alpha is None) == (mode == "P")


def test_a_grey_profile(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 55).save(tmp_path / "a.png", icc_profile=GREY)  # linear light
    linear = 55 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(read_image(tmp_path / "a.png")) - expected).max() <= 2


@pytest.mark.parametrize("profile", [b"no profile", GREY, SRGB.tobytes()])
def test_profiles_that_change_nothing(tmp_path: Path, profile: bytes) -> None:
    """Damaged, of another kind of picture, and sRGB itself."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), pixels)


def test_cmyk_follows_its_profile_only_if_it_is_one(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tif", icc_profile=WIDE)
    assert read_image(tmp_path / "a.tif").getpixel((0, 0)) == (255, 0, 0)


def test_lab(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
    to_lab.apply(Image.new("RGB", (4, 4), COLOUR)).save(tmp_path / "a.tif")
    assert (
        np.abs(np.subtract(read_image(tmp_path / "a.tif").getpixel((0, 0)), COLOUR)).max() <= 8
    )  # LAB of 8 bits is coarse


def test_what_is_not_redrawn_keeps_its_look_in_every_format(
    tmp_path: Path, stored: Image.Image, random_model: TUNIT
) -> None:
    stored.save(tmp_path / "a.jpg", icc_profile=WIDE, quality=100)
    drawn = random_model.translate(tmp_path / "a.jpg", domain=0)
    for name in ("o.png", "o.jpg", "o.webp", "o.tif"):
        save_image(drawn, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert "icc_profile" not in written.info
            assert np.abs(np.subtract(written.convert("RGB").getpixel((1, 1)), COLOUR)).max() <= 4


def test_twelve_bits_in_sixteen_are_read_as_twelve_and_said(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 4095]], dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="read as 12-bit"):
        picture = read_image(tmp_path / "a.png")
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 16, 255]


def test_small_values_of_32_bits_are_not_black(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 100, 255]], dtype=np.int32)).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 100, 255]


def test_who_asks_is_told_and_not_warned() -> None:
    noted: list[str] = []
    for values in (np.uint16([[0, 4095]]), np.uint16([[0, 65535]]), np.int32([[0, 9]]), np.float32([[0, 1]])):
        to_srgb(Image.fromarray(values), noted.append)
    to_srgb(Image.new("CMYK", (2, 2)), noted.append)
    assert noted == ["12-bit", "deep", "deep", "float", "cmyk"]


def test_tall_and_wide_deep_pictures_are_scaled_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srgb, "STRIP", 7)
    values = np.arange(60, dtype=np.uint16) * 1000
    for shape in ((20, 3), (3, 20), (60, 1), (1, 60)):
        picture, _ = to_srgb(Image.fromarray(values.reshape(shape)), lambda _: None)
        expected = np.rint(values.reshape(shape).astype(np.float64) * 255 / 65535)
        assert np.array_equal(np.asarray(picture)[..., 0], expected)


def test_values_that_are_no_numbers_leave_the_others_alone(tmp_path: Path) -> None:
    values = np.array([[0, 0.2, 1, np.inf, -np.inf, np.nan]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 51, 255, 255, 0, 0]
    Image.fromarray(values[:, 5:]).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif")).max() == 0


def test_the_callers_picture_is_left_alone() -> None:
    mine = Image.new("RGB", (2, 2))
    mine.info["icc_profile"] = WIDE
    assert read_image(mine).info == {}
    assert mine.info == {"icc_profile": WIDE}
