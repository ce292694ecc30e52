"""Pictures of every mode, depth and colour profile become 8-bit sRGB here."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from open_tunit.media import conversions
from open_tunit.media.conversions import Note

PROFILES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Mode -> the colour space of profiles that describe it."""
WHITE = {"integer": (255, 4095, 65535), "float": (1, 255, 65535)}
"""What may be white in a grey picture of more than 8 bits: the smallest that holds its brightest value."""
MODES = {
    "P": conversions.PALETTE,
    "PA": conversions.PALETTE,
    "CMYK": conversions.CMYK,
    "LAB": conversions.LAB,
}
"""Mode -> the conversion that it needs."""
STRIP = 2**20
"""Pixels of a deep picture that are scaled at a time; it bounds the memory."""
SAME = 2
"""A profile that changes no level of 0..255 by more than this is taken for sRGB: most are, in other words."""


def to_srgb(image: Image.Image, note: Note | None = None) -> tuple[Image.Image, Image.Image | None]:
    """The colours as 8-bit RGB without profile or other metadata, and the transparency as 8-bit grey.

    The transparency is None where every pixel is opaque. Grey of 16 or 32 bits is divided by the white that fits it.
    `note` gets the conversions that are done; without it the guess that can be wrong, 12 bits in 16, is a warning.
    May return `image` itself, its metadata cleared; give a copy where that matters.
    """
    note = _warn if note is None else note
    if image.mode == "F" or image.mode.startswith("I"):
        profile = image.info.get("icc_profile")
        image = _eight_bit_grey(image, note)
        image.info["icc_profile"] = profile
    if image.mode in MODES:
        note(MODES[image.mode])
    alpha = _alpha(image) if image.has_transparency_data else None
    colours = _in_srgb(_without_alpha(image), image.info.get("icc_profile"), note)
    colours.info = {}
    if alpha is None or alpha.getextrema() == (255, 255):
        return colours, None
    note(conversions.TRANSPARENCY)
    return colours, alpha


def _warn(conversion: str) -> None:
    if conversion == conversions.TWELVE_BIT:
        warnings.warn("grey pictures of 16 bits that use 12 are read as 12-bit: white is 4095", stacklevel=2)


def _alpha(image: Image.Image) -> Image.Image:
    return (image if image.mode in ("RGBA", "LA") else image.convert("RGBA")).getchannel("A")


def _without_alpha(image: Image.Image) -> Image.Image:
    if image.mode in (*PROFILES, "LAB"):
        return image
    if image.mode in ("La", "RGBa"):  # premultiplied: only the plain ones convert to anything
        image = image.convert(image.mode.upper())
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None, note: Note) -> Image.Image:
    if image.mode == "LAB":
        return _from_lab().apply(image)
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        note(conversions.PROFILE)
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From an embedded profile to sRGB; None where it is sRGB, damaged, or describes another kind of picture."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != PROFILES[mode]:
            return None
        transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if mode != "CMYK" and _changes_little(transform, mode) else transform


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    before = Image.fromarray(cube if mode == "RGB" else levels[None])
    after = np.asarray(transform.apply(before), dtype=int)
    return bool(np.abs(after - np.asarray(before.convert("RGB"), dtype=int)).max() <= SAME)


@functools.lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _eight_bit_grey(image: Image.Image, note: Note) -> Image.Image:
    """Modes I;16, I and F in 8 bits; `convert` would clip them."""
    peak = float(max(strip.max(initial=0, where=np.isfinite(strip)) for _, strip in _strips(image)))
    white = next((level for level in WHITE["float" if image.mode == "F" else "integer"] if peak <= level), peak)
    note(conversions.FLOAT if image.mode == "F" else conversions.TWELVE_BIT if white == 4095 else conversions.DEEP)
    scaled = Image.new("L", image.size)
    for top, strip in _strips(image):
        numbers = np.nan_to_num(strip.astype(np.float32), nan=0, posinf=white, neginf=0)
        levels = np.rint(numbers.clip(0) * (255 / white)).astype(np.uint8)
        scaled.paste(Image.fromarray(levels), (0, top))
    return scaled


def _strips(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    """The picture in strips of about STRIP pixels, each with its first row."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
