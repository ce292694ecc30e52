"""Pictures as a model takes and gives them: read, fitted to its square, and its output laid over them again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from open_tunit.media import images


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A picture that was read: what the networks see of it, and what its translation is laid over."""

    square: Tensor
    """(3, S, S) in [-1, 1]."""
    colours: Image.Image
    transparency: Image.Image | None

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.colours.width * self.colours.height

    def with_output(self, output: Tensor, fit: str) -> Image.Image:
        """A translation (3, S, S) in [-1, 1] in this picture's shape and with its transparency."""
        drawn = images.unfit(images.to_pil(output), self.colours.size, fit, self.colours)
        if self.transparency is not None:
            drawn.putalpha(self.transparency)
        return drawn


Picture = str | os.PathLike[str] | Image.Image | Opened
Pictures = Picture | Sequence[Picture] | Tensor


def open_picture(picture: Picture, size: int, fit: str, background: str) -> Opened:
    """The picture, read and fitted to a square of side `size`, unless it is already.

    Raises FileNotFoundError, UnreadableImage (a ValueError).
    """
    if isinstance(picture, Opened):
        return picture
    colours, transparency = images.read_layers(picture, background=background)
    return Opened(images.to_tensor(images.fit(colours, size, fit, background)), colours, transparency)


def listed(pictures: Picture | Sequence[Picture]) -> Sequence[Picture]:
    """One or several pictures as a list. Raises ValueError for an empty one."""
    several: Sequence[Picture] = pictures if isinstance(pictures, (list, tuple)) else [pictures]  # type: ignore[list-item]
    if not several:
        raise ValueError("the list of pictures is empty")
    return several
