"""What reading shows of a file, and makes of pictures that are not 8-bit sRGB, upright, opaque and single."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from PIL import ExifTags, Image

ORIENTATION, FRAMES, TRANSPARENCY, PALETTE = "orientation", "frames", "transparency", "palette"
CMYK, LAB, PROFILE = "cmyk", "lab", "profile"
DEEP, TWELVE_BIT, FLOAT = "deep", "12-bit", "float"
CONVERSIONS = {
    ORIENTATION: "is turned upright, as its EXIF orientation says",
    FRAMES: "has several frames or pages: the first is used",
    TRANSPARENCY: "is transparent: laid over the background",
    PALETTE: "has a palette: converted to RGB",
    CMYK: "is CMYK: converted to sRGB",
    LAB: "is in CIELAB: converted to sRGB",
    PROFILE: "has a colour profile: converted to sRGB",
    DEEP: "is integer grey of 16 or 32 bits: scaled to 8",
    TWELVE_BIT: "is 12-bit grey in 16 bits: white is taken to be 4095",
    FLOAT: "is floating-point grey: scaled to 8 bits",
}
"""What is done, by name, and the words in which it is reported."""
Note = Callable[[str], object]
"""Gets the name of a conversion that is done."""
MIRRORED, TURNED = (2, 3, 4), (5, 6, 7, 8)
"""EXIF orientations that are not upright; `TURNED` exchange width and height."""


@dataclasses.dataclass
class Seen:
    """What reading a file shows of it."""

    kind: str = ""
    """Pillow's name of its format."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the upright picture, in pixels."""
    conversions: list[str] = dataclasses.field(default_factory=list)
    """Those of CONVERSIONS that were done."""


def look(image: Image.Image, path: str | os.PathLike[str], stored: tuple[int, int], seen: Seen) -> None:
    """Fill in what an opened file, whose header gives the size `stored`, shows before it is converted."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    seen.kind, seen.size = image.format or "", stored[::-1] if orientation in TURNED else stored
    if orientation in MIRRORED or orientation in TURNED:
        seen.conversions.append(ORIENTATION)
    if _has_frames(image, path):
        seen.conversions.append(FRAMES)


def _has_frames(image: Image.Image, path: str | os.PathLike[str]) -> bool:
    """Whether there is more than one; a GIF is opened anew, for looking ahead moves it on."""
    if image.format != "GIF":
        return bool(getattr(image, "is_animated", False))
    try:
        with Image.open(path, formats=("GIF",)) as again:
            return bool(getattr(again, "is_animated", False))
    except Exception:  # as in `images.read_layers`: a second frame that is damaged
        return True
