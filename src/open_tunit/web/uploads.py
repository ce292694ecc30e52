"""Uploaded files are looked at before anything decodes them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from open_tunit.images import UnreadableImage

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
"""A camera's 40 megapixels: 120 MB when decoded."""


def check_upload(path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Path:
    """The file, when its size and its header promise a picture that may be decoded.

    Raises ValueError, in a sentence for the person who uploaded it, without the folder's name.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError("This picture is no longer here. Please drop it again.")
    if file.stat().st_size > max_bytes:
        raise ValueError(f"{file.name} is larger than {max_bytes / 2**20:.0f} MB. Please choose a smaller picture.")
    try:
        with Image.open(file) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise ValueError(f"{file.name} has far too many pixels. Please choose a smaller picture.") from error
    except Exception as error:  # on hostile bytes Pillow's readers raise nearly anything
        raise ValueError(unreadable(file)) from error
    if width * height > max_pixels:
        most = f"more than {max_pixels / 1e6:.0f} million"
        raise ValueError(f"{file.name} has {width} x {height} pixels, {most}. Please choose a smaller picture.")
    return file


def sentence(error: ValueError | FileNotFoundError) -> str:
    """What went wrong, for the page: no folders, no jargon."""
    return unreadable(Path(error.args[0])) if isinstance(error, UnreadableImage) else str(error)


def unreadable(file: Path) -> str:
    """The sentence for a file that is no picture."""
    return f"{file.name} is not a picture, or is damaged. Please choose a PNG, JPEG or WebP picture."
