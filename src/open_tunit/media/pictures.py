"""Pictures as a model takes and gives them: read, brought to its size, and its output laid over them again."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Literal

import torch
from PIL import Image, ImageChops
from torch import Tensor

from open_tunit.media import images
from open_tunit.media.images import RefusedPicture, UnreadableImage
from open_tunit.media.whole import TooLong, restored, scaled

Mask = str | os.PathLike[str] | Image.Image
"""A picture, white where the source is redrawn; or `alpha`, for the source's own alpha channel."""
ALPHA = "alpha"
ASPECTS_APART = 0.03
"""What rounding to whole pixels may make of one aspect, as a share, so that masks of another size fit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """How a model takes pictures: the side of its square, and how they get to it."""

    size: int
    fit: Literal["crop", "pad", "squash"]
    background: str
    multiple: int
    """What the sides of a picture that is redrawn whole are multiples of."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A picture to be redrawn, and what of it."""

    picture: str | os.PathLike[str] | Image.Image
    whole: bool = False
    """Whether G redraws all of it, at the model's scale, or its square."""
    mask: Mask | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A picture that was read: what the networks see of it, and what its translation is laid over."""

    frame: Frame
    square: Tensor
    """What E sees: (3, S, S) in [-1, 1]."""
    content: Tensor
    """What G redraws: the square, or the whole picture at the model's scale, (3, H, W)."""
    colours: Image.Image
    """As if it were opaque, where there is a mask; else over the background."""
    transparency: Image.Image | None
    mask: Image.Image | None = None
    """8-bit grey: how much of each pixel is redrawn."""

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.colours.width * self.colours.height

    def counted(self) -> Tensor | None:
        """How much each pixel of the content is redrawn and seen (1, H, W), 0 to 1; None where all are."""
        layers = [layer for layer in (self.mask, self.transparency) if layer is not None]
        square = self.content is self.square
        if not layers and not (square and self.frame.fit == "pad"):
            return None
        layer = functools.reduce(ImageChops.multiply, layers, Image.new("L", self.colours.size, 255)).convert("RGB")
        if square:
            counts = images.to_tensor(images.fit(layer, self.frame.size, self.frame.fit, "#000000"))
        else:
            counts = scaled(layer, self.frame.size, self.frame.multiple)
        return counts[:1] / 2 + 0.5

    def with_output(self, output: Tensor) -> Image.Image:
        """A translation (of the content's shape) in this picture's shape and with its transparency.

        Outside the mask each pixel is the picture's own.
        """
        drawn, shape = images.to_pil(output), self.colours.size
        if self.content is self.square:
            drawn = images.unfit(drawn, shape, self.frame.fit, self.colours)
        else:
            drawn = restored(drawn, shape, self.frame.size)
        if self.mask is not None:
            drawn = Image.composite(drawn, self.colours, self.mask)
        if self.transparency is not None:
            drawn.putalpha(self.transparency)
        return drawn


Picture = str | os.PathLike[str] | Image.Image | Source | Opened
Pictures = Picture | Sequence[Picture] | Tensor


def open_picture(picture: Picture, frame: Frame) -> Opened:
    """The picture, read and brought to the model's size, unless it is already.

    Raises FileNotFoundError, UnreadableImage, RefusedPicture (ValueErrors).
    """
    if isinstance(picture, Opened):
        return picture
    source = picture if isinstance(picture, Source) else Source(picture)
    name = _name(source.picture)
    colours, transparency = images.read_layers(source.picture)
    over = images.laid_over(colours, transparency, frame.background)
    square = images.to_tensor(images.fit(over, frame.size, frame.fit, frame.background))
    content = square
    if source.whole and over.width != over.height:
        try:
            content = scaled(over, frame.size, frame.multiple)
        except TooLong as error:
            raise RefusedPicture(name, str(error)) from error
    if source.mask is None:
        return Opened(frame, square, content, over, transparency)
    mask = _mask(source.mask, name, colours.size, transparency)
    return Opened(frame, square, content, colours, transparency, mask)


def counted_pixels(pictures: Sequence[Opened]) -> Tensor | None:
    """The `counted` of pictures whose contents are of one shape (N, 1, H, W); None where all pixels of all are."""
    each = [picture.counted() for picture in pictures]
    if all(counts is None for counts in each):
        return None
    everything = torch.ones_like(pictures[0].content[:1])
    return torch.stack([everything if counts is None else counts for counts in each])


def to_redraw(pictures: Pictures, *, whole: bool, mask: Mask | Sequence[Mask] | None) -> Pictures:
    """The pictures to be redrawn whole, or under a mask for all or one each. Raises ValueError."""
    if not whole and mask is None:
        return pictures
    if isinstance(pictures, Tensor):
        raise ValueError("tensors are squares without a mask; give pictures for `whole` and `mask`")
    several = listed(pictures)
    masks = mask if isinstance(mask, (list, tuple)) else [mask] * len(several)
    if len(masks) != len(several):
        raise ValueError(f"{len(several)} sources and {len(masks)} masks do not pair; expected one mask, or one each")
    if any(isinstance(picture, (Source, Opened)) for picture in several):
        raise ValueError("what of an opened picture is redrawn was said when it was opened")
    return [Source(picture, whole, its) for picture, its in zip(several, masks, strict=True)]  # type: ignore[arg-type]


def one_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pictures of these sizes (width, height) may show the same, but for their scale."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= ASPECTS_APART


def read_mask(mask: Mask) -> Image.Image:
    """A mask as 8-bit grey; what is transparent in it is black. Raises FileNotFoundError, UnreadableImage."""
    return images.read_image(mask, background="#000000").convert("L")


def listed(pictures: Picture | Sequence[Picture]) -> Sequence[Picture]:
    """One or several pictures as a list. Raises ValueError for an empty one."""
    several: Sequence[Picture] = pictures if isinstance(pictures, (list, tuple)) else [pictures]  # type: ignore[list-item]
    if not several:
        raise ValueError("the list of pictures is empty")
    return several


def _mask(mask: Mask, name: str, shape: tuple[int, int], transparency: Image.Image | None) -> Image.Image:
    """The mask as 8-bit grey of the picture's `shape` (width, height)."""
    if isinstance(mask, str) and mask == ALPHA:
        if transparency is None:
            raise RefusedPicture(name, "has no transparent pixels, which could serve as a mask")
        return transparency
    try:
        layer = read_mask(mask)
    except UnreadableImage as error:
        raise RefusedPicture(name, f"has a mask that cannot be read: {error}") from error
    if layer.size == shape:
        return layer
    if not one_aspect(layer.size, shape):
        sizes = "{} x {} pixels, and its mask {} x {}".format(*shape, *layer.size)
        where = "" if isinstance(mask, Image.Image) else f" ({os.fspath(mask)})"
        raise RefusedPicture(name, f"has {sizes}{where}; expected the same aspect")
    return layer.resize(shape, Image.Resampling.BILINEAR)


def _name(picture: str | os.PathLike[str] | Image.Image) -> str:
    return "the picture" if isinstance(picture, Image.Image) else os.fspath(picture)
