"""Files and PIL images become tensors (float NCHW in [-1, 1]) here, and tensors become pictures again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from open_tunit.files import write_atomic
from open_tunit.media import reasons
from open_tunit.media.conversions import Seen, look
from open_tunit.media.encoded import Encoded, Source
from open_tunit.media.srgb import to_srgb

READ = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the kinds that are decoded, whatever a file's suffix; EPS, for one, would start Ghostscript."""
FITS = ("crop", "pad", "squash")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Suffix -> what pictures are written as."""
OPAQUE = ("JPEG",)
PIXELS_DECODED = 2**26
"""Decoded at the same time by all threads together, 200 MB of them; a larger picture is decoded alone."""
LONGEST_FRAME_MS, SHORTEST_FRAME_MS = 10 * 65535, 20
"""What a GIF holds, and what browsers heed: they show shorter frames for 100 ms."""
_BAND_PIXELS, _BLOCK_BYTES = 2**22, 2**27
"""Of a large picture: what is resized at a time, and what its memory is taken in, above glibc's largest from the heap.
"""
SHRINK_FIRST = 3.0
"""Big reductions start with whole-pixel averages, down to this many times the final side (Pillow: no visible loss)."""
_LOSSY_QUALITY = 95
"""For JPEG and WebP: the highest that Pillow's manual advises."""


class RefusedPicture(ValueError):
    """A picture that cannot be taken; `args` are its name and the reason."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))

    @property
    def reason(self) -> str:
        """What is wrong, without the name."""
        return str(self.args[-1])


class UnreadableImage(RefusedPicture):
    """A file or picture that cannot be decoded."""


def read_image(
    source: Source | Image.Image,
    *,
    background: str = "#ffffff",
    at_least: int | None = None,
    seen: Seen | None = None,
) -> Image.Image:
    """The picture as 8-bit sRGB, upright (EXIF), transparent pixels over `background`, first frame of an animation.

    With `at_least`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as both sides keep at least twice
    that many pixels. Embedded colour profiles are converted; what they and 16-bit grey become is in `srgb.py`. `seen`
    is filled in, for a file. Raises UnreadableImage for what cannot be decoded (truncated, of a kind not in READ, more
    than twice `PIL.Image.MAX_IMAGE_PIXELS`), FileNotFoundError, ValueError for a bad colour.
    """
    _colour(background)
    return laid_over(*read_layers(source, at_least=at_least, seen=seen), background)


def read_layers(
    source: Source | Image.Image, *, at_least: int | None = None, seen: Seen | None = None
) -> tuple[Image.Image, Image.Image | None]:
    """The picture of `read_image` as if it were opaque, and its transparency as 8-bit grey of the same shape.

    The transparency is None where all is opaque.
    """
    _check_file(source)
    try:
        if isinstance(source, Image.Image):
            return to_srgb(ImageOps.exif_transpose(source))
        if not isinstance(source, Encoded) and not os.path.exists(source):
            raise FileNotFoundError(f"{os.fspath(source)} does not exist")
        with Image.open(source, formats=READ) as image:
            stored = image.size
            if at_least is not None:
                image.draft(None, (2 * at_least, 2 * at_least))
            with _DECODING.of(image.width * image.height):
                if seen is not None and not isinstance(source, Encoded):
                    look(image, source, stored, seen)
                ImageOps.exif_transpose(image, in_place=True)
                return to_srgb(image, None if seen is None else seen.conversions.append)
    except FileNotFoundError:
        raise
    except Exception as error:  # on hostile bytes Pillow's readers raise nearly anything
        if isinstance(source, Image.Image):
            raise UnreadableImage("the picture", reasons.of_error(error)) from error
        raise UnreadableImage(str(source), reasons.of_error(error, source)) from error


def laid_over(colours: Image.Image, transparency: Image.Image | None, background: str) -> Image.Image:
    """The layers of `read_layers` over a background. Raises ValueError for a bad colour."""
    if transparency is None:
        return colours
    canvas = Image.new("RGB", colours.size, _colour(background))
    canvas.paste(colours, mask=transparency)
    return canvas


def header_size(path: Source) -> tuple[int, int]:
    """Width and height of the picture as stored, by its header alone. Raises UnreadableImage."""
    _check_file(path)
    try:
        with Image.open(path, formats=READ) as image:
            return image.size
    except Exception as error:  # as in `read_layers`
        raise UnreadableImage(str(path), reasons.of_error(error, path)) from error


def pixel_count(path: str | os.PathLike[str]) -> int:
    """Pixels of the picture, by its header alone; 0 where `read_image` would not read it."""
    try:
        width, height = header_size(path)
    except UnreadableImage:
        return 0
    return width * height


def fit(image: Image.Image, size: int, how: str, background: str = "#ffffff") -> Image.Image:
    """`image` as a square of side `size`, antialiased.

    crop: the centre of the longer side. pad: all of it, centred on `background`. squash: all of it, proportions lost.
    Raises ValueError for another `how`.
    """
    _check_fit(how)
    if how == "pad":
        box = _padded_box(*image.size, size)
        square = Image.new("RGB", (size, size), _colour(background))
        square.paste(_resize(image, (box[2] - box[0], box[3] - box[1])), box[:2])
        return square
    return _resize(image.crop(_crop_box(*image.size)) if how == "crop" else image, (size, size))


def unfit(square: Image.Image, shape: tuple[int, int], how: str, original: Image.Image | None = None) -> Image.Image:
    """The inverse of `fit`: the square (a translation) in the source's `shape` (width, height), in pixels.

    squash: resized. pad: the padding is cut off, the rest resized. crop: nothing outside the centre square was
    translated, so the square is laid over the centre of `original`, the source, which is needed (and must have
    `shape`) unless `shape` is square. Raises ValueError otherwise.
    """
    _check_fit(how)
    if how == "pad":
        return _resize(square.crop(_padded_box(*shape, square.width)), shape)
    if how == "squash" or shape[0] == shape[1]:
        return _resize(square, shape)
    if original is None or original.size != shape:
        came = "none" if original is None else "{} x {}".format(*original.size)
        raise ValueError(f"original is {came}; undoing a crop needs the source of {shape[0]} x {shape[1]} pixels")
    whole = original.convert("RGB")
    left, top, right, _ = _crop_box(*shape)
    side = right - left
    rows = max(1, _BAND_PIXELS // side)  # a band at a time: the resized square would be as large as the picture
    for begin in range(0, side, rows):
        end = min(begin + rows, side)
        part = (0, begin * square.height / side, square.width, end * square.height / side)
        whole.paste(_resize(square, (side, end - begin), part), (left, top + begin))
    return whole


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as float32 (3, H, W) in [-1, 1]."""
    return from_uint8(np.asarray(image.convert("RGB"))[None])[0]


def from_uint8(images: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [-1, 1], on the device of `images`."""
    pixels = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    planes = pixels.permute(0, 3, 1, 2)  # (N, 3, H, W)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1] as uint8 (N, H, W, 3), rounded; values outside are clamped."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    pixels: NDArray[np.uint8] = scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def to_pil(image: torch.Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] as a PIL picture."""
    return Image.fromarray(to_uint8(image[None])[0])


def grid(rows: torch.Tensor, *, pad: int = 2, background: str = "#ffffff") -> Image.Image:
    """(R, C, 3, H, W) in [-1, 1] as one picture of R rows and C columns, `pad` pixels of `background` around each."""
    count, columns, _, height, width = rows.shape
    shape = (count * (height + pad) + pad, columns * (width + pad) + pad, 3)
    sheet = np.full(shape, _colour(background), dtype=np.uint8)
    for place, tile in enumerate(to_uint8(rows.flatten(0, 1))):
        row, column = divmod(place, columns)
        top, left = pad + row * (height + pad), pad + column * (width + pad)
        sheet[top : top + height, left : left + width] = tile
    return Image.fromarray(sheet)


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix of `path` is one that pictures are written with."""
    return Path(path).suffix.lower() in FORMATS


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes `image` atomically, in the format that the suffix of `path` names.

    Raises ValueError for a suffix that is not in FORMATS, and for transparency in a format that cannot hold it; OSError
    as the system gives it.
    """
    target = Path(path)
    if not is_picture(target):
        raise ValueError(f"{target} ends in {target.suffix!r}; expected a picture's suffix such as .png, .jpg or .webp")
    kind = FORMATS[target.suffix.lower()]
    if kind in OPAQUE and "A" in image.getbands():
        raise ValueError(f"{target} cannot hold transparency; name a .png or .webp")
    options = {"quality": _LOSSY_QUALITY} if kind in ("JPEG", "WEBP") else {}
    write_atomic(target, lambda temporary: image.save(temporary, format=kind, **options))


def save_animation(frames: Iterable[Image.Image], path: str | os.PathLike[str], frames_per_second: float) -> None:
    """Write an endless GIF atomically, of opaque frames.

    Raises ValueError when there are none, and for rates that a GIF cannot hold or browsers do not heed.
    """
    slowest, fastest = 1000 / LONGEST_FRAME_MS, 1000 / SHORTEST_FRAME_MS
    if not slowest <= frames_per_second <= fastest:
        raise ValueError(f"{frames_per_second:g} frames per second; a GIF can show {slowest:.2g} to {fastest:g}")
    milliseconds = 10 * round(100 / frames_per_second)  # a GIF counts hundredths of a second
    ordered = [frame.convert("RGB") for frame in frames]
    if not ordered:
        raise ValueError(f"no frames to write to {path}")
    options: dict[str, Any] = {"save_all": True, "append_images": ordered[1:], "duration": milliseconds, "loop": 0}
    write_atomic(path, lambda target: ordered[0].save(target, format="GIF", **options))


def free_large_pictures() -> None:
    """Let Pillow take a large picture's memory in one piece: glibc keeps smaller ones when they are freed.

    A setting of the process, for commands that see many large pictures.
    """
    Image.core.set_block_size(_BLOCK_BYTES)  # type: ignore[attr-defined]


def _check_file(source: Source | Image.Image) -> None:
    """Raise UnreadableImage for a path of something that is no file: a pipe would keep its reader waiting for ever."""
    if isinstance(source, (str, os.PathLike)) and os.path.exists(source) and not os.path.isfile(source):
        raise UnreadableImage(str(source), reasons.NO_FILE)


def _colour(name: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise ValueError(f"background is {name!r}; expected a colour such as #ffffff or white") from error


class _PixelBudget:
    """Lets threads work on so many pixels at once, or one of them on more."""

    def __init__(self, most: int) -> None:
        self.most, self.used, self.changed = most, 0, threading.Condition()

    @contextmanager
    def of(self, count: int) -> Iterator[None]:
        """Wait until `count` pixels more fit, and hold them within."""
        with self.changed:
            self.changed.wait_for(lambda: not self.used or self.used + count <= self.most)
            self.used += count
        try:
            yield
        finally:
            with self.changed:
                self.used -= count
                self.changed.notify_all()


_DECODING = _PixelBudget(PIXELS_DECODED)


def _check_fit(how: Any) -> None:
    if how not in FITS:
        raise ValueError(f"fit is {how!r}; expected one of {', '.join(FITS)}")


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=SHRINK_FIRST)


def _crop_box(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _padded_box(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Where a picture of this shape lies in its padded square of side `size`."""
    longer = max(width, height)
    inner_width, inner_height = max(1, round(width * size / longer)), max(1, round(height * size / longer))
    left, top = (size - inner_width) // 2, (size - inner_height) // 2
    return left, top, left + inner_width, top + inner_height
