"""A picture's bytes are read, and refused, as the file with them is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit.media.encoded import Encoded
from open_tunit.media.images import UnreadableImage, header_size, read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    NOISE.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_bytes_are_read_as_their_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(kind))
    picture = Encoded(path.read_bytes(), "a picture")
    assert header_size(picture) == (60, 40)
    assert np.array_equal(read_image(picture), read_image(path))


@pytest.mark.parametrize("data", [b"", b"<html>", b"BM", encoded("PNG")[:500], encoded("WEBP")[:500]])
def test_bytes_are_refused_as_their_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    refusals = []
    for source in (path, Encoded(data, "cats/1.png")):
        with pytest.raises(UnreadableImage) as refusal:
            read_image(source)
        refusals.append(refusal.value)
    assert refusals[0].reason == refusals[1].reason
    assert str(refusals[1]).startswith("cats/1.png ")
