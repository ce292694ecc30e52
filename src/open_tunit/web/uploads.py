"""Uploaded files are looked at before anything decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from open_tunit.media.images import UnreadableImage, header_size

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
"""A camera's 40 megapixels: 160 MB when decoded."""
MAX_PIXELS_TOGETHER = 12 * MAX_PIXELS
"""Of all pictures of a request: seconds of decoding."""


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
        width, height = header_size(file)
    except UnreadableImage as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise ValueError(f"{file.name} has far too many pixels. Please choose a smaller picture.") from error
        raise ValueError(unreadable(file)) from error
    if width * height > max_pixels:
        most = f"more than {max_pixels / 1e6:.0f} million"
        raise ValueError(f"{file.name} has {width} x {height} pixels, {most}. Please choose a smaller picture.")
    return file


def check_uploads(paths: Sequence[str | Path], *, max_pixels: int = MAX_PIXELS_TOGETHER) -> list[Path]:
    """The files of one request, checked one by one, and how many pixels they have together. Raises ValueError."""
    files, total = [], 0
    for path in paths:
        file = check_upload(path)
        width, height = header_size(file)
        total += width * height
        if total > max_pixels:
            most = f"more than {max_pixels / 1e6:.0f} million pixels together"
            raise ValueError(f"These pictures have {most}. Please choose fewer or smaller ones.")
        files.append(file)
    return files


def sentence(error: ValueError | FileNotFoundError) -> str:
    """What went wrong, for the page: no folders, no jargon."""
    return unreadable(Path(error.args[0])) if isinstance(error, UnreadableImage) else str(error)


def unreadable(file: Path) -> str:
    """The sentence for a file that is no picture."""
    return f"{file.name} is not a picture, or is damaged. Please choose a PNG, JPEG or WebP picture."
