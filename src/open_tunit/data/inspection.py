"""What is known of a picture besides its pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

from PIL import Image

from open_tunit.data.duplicates import phash
from open_tunit.media.conversions import CONVERSIONS, Seen


class Inspection(NamedTuple):
    """A readable picture, as its file holds it."""

    kind: str
    """Pillow's name of its format."""
    width: int
    height: int
    """Upright, in pixels."""
    conversions: tuple[str, ...]
    """Those of `conversions.CONVERSIONS` that reading it takes."""
    phash: int | None
    """Of its look, 64 bits; None where it is of one tone."""

    @classmethod
    def of(cls, seen: Seen, image: Image.Image) -> Inspection:
        """From what reading a file showed, and what it became."""
        return cls(seen.kind, *seen.size, tuple(seen.conversions), phash(image))

    @classmethod
    def of_json(cls, values: Any) -> Inspection | None:
        """From the list that JSON makes of it. Raises TypeError or ValueError for another."""
        if values is None:
            return None
        kind, width, height, conversions, look = values
        if not set(conversions) <= CONVERSIONS.keys() or not 0 <= (look or 0) < 2**64:
            raise ValueError(f"{values} is not what is known of a picture")
        return cls(str(kind), int(width), int(height), tuple(conversions), look)
