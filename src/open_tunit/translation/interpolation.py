"""Between references: style codes along a path, and pictures that move along it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from open_tunit.media import images
from open_tunit.media.pictures import Picture
from open_tunit.model import TUNIT

GAP = 2
"""Pixels between the pictures of a strip or a moving grid."""


def path(stops: Tensor, frames: int, *, loop: bool = False) -> Tensor:
    """Style codes along straight legs through `stops` (P, D), `frames` steps a leg.

    Begins at the first stop and ends on the last: ((P - 1) * frames + 1, D). A loop goes on towards the first stop and
    ends one step before it: (P * frames, D). Raises ValueError for fewer than two stops or one frame.
    """
    if len(stops) < 2:
        raise ValueError(f"there is nothing between {len(stops)} reference{'s' * (len(stops) != 1)}; give at least 2")
    if frames < 1:
        raise ValueError(f"frames is {frames}; at least 1 is needed from one reference to the next")
    turn = torch.arange(frames, device=stops.device, dtype=stops.dtype)[:, None] / frames  # (F, 1)
    corners = torch.cat([stops, stops[:1]]) if loop else stops
    legs = [torch.lerp(a, b, turn) for a, b in itertools.pairwise(corners)]  # each (F, D)
    return torch.cat(legs if loop else [*legs, stops[-1:]])


def strip(model: TUNIT, sources: Sequence[Picture], codes: Tensor) -> Image.Image:
    """One row per source: the source, then its translation at each style code of `codes` (F, D)."""
    rows = [torch.cat([square, model.redraw(square, codes)]) for square in model.squares(sources).split(1)]
    return images.grid(torch.stack(rows), pad=GAP)


def moving_picture(model: TUNIT, source: Picture, codes: Tensor) -> Iterator[Image.Image]:
    """The source redrawn at each style code in turn, in its own shape; it is read and encoded once."""
    return model.redraw_all([source], codes)


def moving_grid(model: TUNIT, sources: Sequence[Picture], stops: Tensor, frames: int) -> Iterator[Image.Image]:
    """The grid of all translations, each row on its way through the stops, beginning at its own.

    Above them the sources, which stand still. The first frame's row r is drawn at stop r; after `frames` frames each
    row has come to the next stop, and after all of them to its own again.
    """
    codes = path(stops, frames, loop=True)
    squares = model.squares(sources)  # (M, 3, S, S)
    for start in range(len(codes)):
        turned = [codes[(start + stop * frames) % len(codes)] for stop in range(len(stops))]
        rows = [squares, *(model.redraw(squares, code[None]) for code in turned)]
        yield images.grid(torch.stack(rows), pad=GAP)
