"""reasons.py: what a file that is no picture is told to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from odd_files import encoded, picture
from PIL import UnidentifiedImageError

from open_tunit.data.scan import SUFFIXES
from open_tunit.media import reasons
from open_tunit.media.images import UnreadableImage, read_image


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "is not an image: the file is empty"),
        (b"hello", reasons.NO_IMAGE),
        (b"BMW and other cars", reasons.NO_IMAGE),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", reasons.HEIC.reason),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", reasons.AVIF.reason),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", reasons.RAW.reason),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", reasons.FILM),
        (b"\0\0\0\x0cjP  \r\n\x87\n", reasons.JPEG_2000.reason),
        (b"\xff\x0a\xfa\x1f", reasons.JPEG_XL.reason),
        (b"8BPS\0\1", reasons.LAYERS.reason),
        (b"%PDF-1.7", reasons.POSTSCRIPT.reason),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?>\n<SVG ', reasons.SVG.reason),
        (b"\n<!DOCTYPE HTML>", "is a web page, not a picture"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer, not a picture; git lfs pull fetches it"),
        (b"\x89PNG\r\n\x1a\n", reasons.HEADER),
        (b"RIFF\x10\0\0\0WEBPVP8 ", reasons.HEADER),
    ],
)
def test_first_bytes(head: bytes, expected: str) -> None:
    assert reasons.of_bytes(head) == expected


def test_every_kind_that_is_not_read_names_what_reads_it() -> None:
    assert not set(reasons.BY_SUFFIX) & set(SUFFIXES)
    assert len(reasons.BY_SUFFIX) == sum(len(kind.suffixes) for kind in reasons.FOREIGN)
    for suffix, kind in reasons.BY_SUFFIX.items():
        assert suffix == suffix.lower()
        assert kind.converter in kind.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_every_kind_cut_in_the_middle_of_its_pixels_is_cut_short(tmp_path: Path, kind: str) -> None:
    content = encoded(picture(0, (96, 80)), kind)
    (tmp_path / "a.png").write_bytes(content[: round(len(content) * 0.8)])
    with pytest.raises(UnreadableImage) as caught:
        read_image(tmp_path / "a.png")
    assert reasons.kind(caught.value.reason) == "is cut short"


def test_a_kind_is_a_reason_without_the_details_of_one_file() -> None:
    assert reasons.kind("is cut short: image file is truncated (3 bytes not processed)") == "is cut short"
    assert reasons.kind("cannot be decoded: broken PNG file") == "cannot be decoded"
    for whole in (reasons.HEIC.reason, "cannot be read: Permission denied", reasons.EMPTY):
        assert reasons.kind(whole) == whole


def test_a_file_that_is_gone_when_the_reason_is_looked_for(tmp_path: Path) -> None:
    assert reasons.of_error(UnidentifiedImageError(), tmp_path / "gone.png") == (
        "cannot be read: No such file or directory"
    )
    assert reasons.of_error(UnidentifiedImageError()) == reasons.NO_IMAGE
