"""Whole pictures of any aspect at a model's scale, and back in their own size."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from open_tunit.media import images

LONGEST = 16
"""Long side over short side: G's memory grows with it."""


class TooLong(ValueError):
    """A picture of an aspect that is not translated whole."""


def scaled(picture: Image.Image, size: int, multiple: int) -> Tensor:
    """`picture` as (3, H, W) in [-1, 1]: its short side `size` pixels, both sides multiples of `multiple`.

    What the long side lacks to that is mirrored at its two ends. `size` is a multiple itself. Raises TooLong.
    """
    width, height = picture.size
    if max(width, height) > LONGEST * min(width, height):
        raise TooLong(f"has {width} x {height} pixels, more than {LONGEST} to 1; cut it to be translated whole")
    inner = _inner(picture.size, size)
    small = np.asarray(picture.resize(inner, Image.Resampling.LANCZOS, reducing_gap=images.SHRINK_FIRST))
    left, top = (-side % multiple // 2 for side in inner)
    right, bottom = (-side % multiple - before for side, before in zip(inner, (left, top), strict=True))
    padded = np.pad(small, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    return images.from_uint8(padded[None])[0]


def restored(output: Image.Image, shape: tuple[int, int], size: int) -> Image.Image:
    """A translation of `scaled` in the picture's own `shape` (width, height), in pixels."""
    inner = _inner(shape, size)
    left, top = ((full - side) // 2 for full, side in zip(output.size, inner, strict=True))
    cut = output.crop((left, top, left + inner[0], top + inner[1]))
    return cut.resize(shape, Image.Resampling.LANCZOS, reducing_gap=images.SHRINK_FIRST)


def _inner(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height at the model's scale."""
    shorter = min(shape)
    return round(shape[0] * size / shorter), round(shape[1] * size / shorter)
