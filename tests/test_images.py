"""images.py: what files become, and back."""

from __future__ import annotations

import os
import pickle
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from open_tunit import TUNIT, translate_files
from open_tunit.media import images
from open_tunit.media.images import (
    UnreadableImage,
    fit,
    from_uint8,
    grid,
    read_image,
    save_image,
    to_pil,
    to_tensor,
    to_uint8,
    unfit,
)
from open_tunit.translation.results import named_files


def _noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _smooth(width: int, height: int) -> Image.Image:
    x, y = np.linspace(0, 255, width)[None, :], np.linspace(0, 255, height)[:, None]
    planes = [x + 0 * y, y + 0 * x, (x + y) / 2]
    return Image.fromarray(np.stack(planes, -1).round().astype(np.uint8))


def _difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)).mean())


def test_plain_rgb_is_read_unchanged(tmp_path: Path) -> None:
    image = _noise(5, 7)
    image.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), image):
        assert np.array_equal(np.asarray(read_image(source)), np.asarray(image))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turned) -> None:  # type: ignore[no-untyped-def]
    image, exif = _noise(4, 6), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), turned(np.asarray(image)))


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    for name in ("a.tif", "a.jpg"):
        pixels = np.asarray(read_image(tmp_path / name)).astype(int)
        assert np.abs(pixels - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    assert np.asarray(read_image(tmp_path / f"a.{suffix}"))[0, :, 1].tolist() == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    assert np.asarray(read_image(Image.fromarray(np.full((2, 2), 5140, dtype=np.uint16)))).max() == 20


def test_alpha_lies_over_the_background(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [[255] * 3, [255, 0, 0], [204] * 3]
    blue = np.asarray(read_image(tmp_path / "a.png", background="#0000ff"))[0].tolist()
    assert blue == [[0, 0, 255], [255, 0, 0], [0, 0, 204]]


def test_grey_with_alpha_and_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[10, 0], [10, 255]]], dtype=np.uint8), mode=None).save(tmp_path / "la.png")
    with Image.open(tmp_path / "la.png") as image:
        assert image.mode == "LA"
    assert np.asarray(read_image(tmp_path / "la.png"))[0].tolist() == [[255] * 3, [10] * 3]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "one.png")
    assert np.asarray(read_image(tmp_path / "one.png"))[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_transparency(tmp_path: Path, suffix: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putdata([0, 1])
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    pixels = np.asarray(read_image(tmp_path / f"a.{suffix}", background="#000080"))
    assert pixels[0].tolist() == [[0, 0, 128], [0, 200, 0]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_truncated_files_are_unreadable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    _noise(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match=rf"cut\.{suffix} ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello, this is a text", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"a\.png .*(not an image|cannot be)") as caught:
        read_image(tmp_path / "a.png")
    assert str(tmp_path) not in caught.value.reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, random_model: TUNIT) -> None:
    pipe, good = tmp_path / "pipe.png", tmp_path / "good.png"
    os.mkfifo(pipe)

    def write_nothing() -> None:  # to whoever opens it all the same, who would wait for ever
        while True:
            os.close(os.open(pipe, os.O_WRONLY))

    threading.Thread(target=write_nothing, daemon=True).start()
    Image.new("RGB", (40, 40)).save(good)
    tries: list[Callable[[], object]] = [
        lambda: images.read_image(pipe),
        lambda: images.header_size(pipe),
        lambda: named_files(pipe),
        lambda: random_model.translate(pipe, good),
        lambda: translate_files(random_model, pipe, tmp_path / "out", good),
        lambda: translate_files(random_model, good, tmp_path / "out", pipe),
        lambda: translate_files(random_model, good, tmp_path / "out", domain=0, mask=str(pipe)),
    ]
    for each in tries:
        with pytest.raises(ValueError, match=r"pipe\.png is no regular file"):
            each()


def test_huge_dimensions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _noise(20, 20).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.warns(Image.DecompressionBombWarning):
        assert read_image(tmp_path / "a.png").size == (20, 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 199)
    with pytest.raises(UnreadableImage, match=r"a\.png has too many pixels \(the limit is 398\)"):
        read_image(tmp_path / "a.png")


def test_a_decompression_bomb_of_small_file(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(png)
    with pytest.raises(UnreadableImage, match=r"bomb\.png has too many pixels"):
        read_image(tmp_path / "bomb.png")


def test_missing_files_and_bad_colours(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.png does not exist"):
        read_image(tmp_path / "no.png")
    with pytest.raises(UnreadableImage, match="is no regular file"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match="background is 'mauvish'; expected a colour") as caught:
        read_image(_noise(2, 2), background="mauvish")
    assert not isinstance(caught.value, UnreadableImage)


@pytest.mark.parametrize(("at_least", "size"), [(32, (64, 128)), (33, (128, 256)), (16, (64, 128)), (200, (512, 1024))])
def test_jpeg_is_reduced_to_no_less_than_twice(tmp_path: Path, at_least: int, size: tuple[int, int]) -> None:
    _smooth(512, 1024).save(tmp_path / "a.jpg", quality=95)
    reduced = read_image(tmp_path / "a.jpg", at_least=at_least)
    assert reduced.size == size
    assert _difference(reduced, _smooth(512, 1024).resize(size, Image.Resampling.BOX)) < 2


def test_crop_keeps_the_centre() -> None:
    wide = np.zeros((4, 10, 3), dtype=np.uint8)
    wide[:, 3:7] = _noise(4, 4)
    assert np.array_equal(np.asarray(fit(Image.fromarray(wide), 4, "crop")), wide[:, 3:7])
    tall = wide.transpose(1, 0, 2)
    assert np.array_equal(np.asarray(fit(Image.fromarray(tall), 4, "crop")), tall[3:7])


def test_pad_shows_all_on_the_background() -> None:
    square = np.asarray(fit(_noise(4, 8), 8, "pad", "#102030"))
    assert np.array_equal(square[2:6], np.asarray(_noise(4, 8)))
    assert (square[[0, 1, 6, 7]] == [0x10, 0x20, 0x30]).all()


def test_reduction_is_antialiased() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    image = Image.fromarray(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    for how in ("crop", "pad", "squash"):
        assert np.abs(np.asarray(fit(image, 8, how)).astype(int) - 127.5).max() < 8


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.sampled_from(["crop", "pad", "squash"]))
def test_unfit_gives_the_source_back(width: int, height: int, how: str) -> None:
    image = _smooth(width, height)
    restored = unfit(fit(image, 64, how), image.size, how, image)
    assert restored.size == (width, height)
    assert _difference(restored, image) < 6


def test_unfit_of_a_crop_changes_the_centre_alone() -> None:
    source, red = _noise(4, 10), Image.new("RGB", (8, 8), (255, 0, 0))
    result = np.asarray(unfit(red, (10, 4), "crop", source))
    assert (result[:, 3:7] == [255, 0, 0]).all()
    assert np.array_equal(result[:, [0, 1, 2, 7, 8, 9]], np.asarray(source)[:, [0, 1, 2, 7, 8, 9]])
    assert np.array_equal(np.asarray(source), np.asarray(_noise(4, 10)))
    assert unfit(red, (5, 5), "crop").size == (5, 5)
    with pytest.raises(ValueError, match=r"original is none; .* 10 x 4 pixels"):
        unfit(red, (10, 4), "crop")
    with pytest.raises(ValueError, match="original is 4 x 4"):
        unfit(red, (10, 4), "crop", _noise(4, 4))


def test_unfit_of_a_large_crop_is_laid_down_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    square, source = _noise(16, 16), _noise(201, 150)
    whole = np.asarray(unfit(square, source.size, "crop", source)).astype(int)
    monkeypatch.setattr("open_tunit.media.images._BAND_PIXELS", 7 * source.height)
    banded = np.asarray(unfit(square, source.size, "crop", source)).astype(int)
    assert np.abs(banded - whole).max() <= 1
    assert (banded == whole).mean() > 0.99


def test_unfit_of_a_pad_drops_the_padding() -> None:
    square = fit(Image.new("RGB", (30, 90), (0, 255, 0)), 32, "pad", "#ff0000")
    assert np.abs(np.asarray(unfit(square, (30, 90), "pad")).astype(int) - [0, 255, 0]).max() == 0


def test_unknown_fits_are_refused() -> None:
    for call in (lambda: fit(_noise(2, 2), 2, "stretch"), lambda: unfit(_noise(2, 2), (2, 2), "stretch")):
        with pytest.raises(ValueError, match="fit is 'stretch'; expected one of crop, pad, squash"):
            call()


def test_tensors_span_minus_one_to_one_and_return_exactly() -> None:
    every = Image.fromarray(np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3))
    tensor = to_tensor(every)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    expected = np.asarray(every).astype(np.float64).transpose(2, 0, 1) * 2 / 255 - 1
    assert np.allclose(tensor.double().numpy(), expected, atol=1e-6)
    assert np.array_equal(np.asarray(to_pil(tensor)), np.asarray(every))


def test_to_uint8_rounds_and_clamps() -> None:
    column = torch.tensor([-3.0, -1.0, 0.0, 2 * 100.4 / 255 - 1, 2 * 100.6 / 255 - 1, 1.0, 7.0])
    pixels = to_uint8(column.view(1, 1, 7, 1).expand(2, 3, 7, 1).requires_grad_())
    assert pixels.shape == (2, 7, 1, 3)
    assert pixels.dtype == np.uint8
    assert pixels[1, :, 0, 2].tolist() == [0, 0, 128, 100, 101, 255, 255]
    assert to_uint8(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16)).min() == 255


def test_from_uint8_takes_read_only_arrays_and_tensors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    result = from_uint8(pixels)
    assert result.shape == (2, 3, 4, 5)
    assert result.is_contiguous()
    assert torch.equal(result, from_uint8(torch.from_numpy(pixels.copy())))
    assert result[1, 2, 3, 4].item() == pytest.approx(pixels[1, 3, 4, 2] / 127.5 - 1)
    assert np.array_equal(to_uint8(result), pixels)


def test_grid_places_every_picture() -> None:
    rows = torch.linspace(-1, 1, 6).view(2, 3, 1, 1, 1).expand(2, 3, 3, 4, 5)
    sheet = np.asarray(grid(rows, pad=1, background="#ff0000"))
    assert sheet.shape == (2 * 5 + 1, 3 * 6 + 1, 3)
    assert sheet[1:5, 1:6].max() == 0
    assert (sheet[6:10, 7:12] == 204).all()
    assert (sheet[[0, 5, 10]] == [255, 0, 0]).all()
    assert (sheet[:, [0, 6, 12, 18]] == [255, 0, 0]).all()


def test_save_image_writes_what_the_suffix_says(tmp_path: Path) -> None:
    image = _smooth(20, 10)
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP")):
        save_image(image, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert written.format == kind
        assert _difference(read_image(tmp_path / name), image) < 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.JPG", "a.png", "a.webp"]


def test_saving_puts_a_new_file_in_place_of_the_old(tmp_path: Path) -> None:
    save_image(_noise(4, 4, seed=1), tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "reader.png")
    save_image(_noise(4, 4, seed=2), tmp_path / "a.png")
    for name, seed in (("reader.png", 1), ("a.png", 2)):
        assert np.array_equal(np.asarray(read_image(tmp_path / name)), np.asarray(_noise(4, 4, seed=seed)))


def test_a_failed_save_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    save_image(_noise(4, 4, seed=1), path)
    before = path.read_bytes()

    def fail(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_image(_noise(4, 4, seed=2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_suffixes_are_refused(tmp_path: Path) -> None:
    for name in ("a.xyz", "a", "a.psd"):
        with pytest.raises(ValueError, match="expected a picture's suffix"):
            save_image(_noise(2, 2), tmp_path / name)
    with pytest.raises(FileNotFoundError):
        save_image(_noise(2, 2), tmp_path / "nowhere" / "a.png")
    assert not list(tmp_path.iterdir())
