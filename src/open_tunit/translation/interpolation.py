"""Between references: style codes along a path, and pictures that move along it; all that `tunit interpolate` does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from open_tunit.data.scan import check_outside
from open_tunit.media import images
from open_tunit.media.pictures import Picture
from open_tunit.media.video import WRITTEN, ffmpeg, is_film, with_even_sides, write_film
from open_tunit.model import TUNIT
from open_tunit.translation.folders import readable_files, styles_of, styles_of_domains
from open_tunit.translation.results import Written, named_files, refuse_taken

GAP = 2
"""Pixels between the pictures of a strip or a moving grid."""


Place = str | os.PathLike[str]


def is_moving(out: Place) -> bool:
    """Whether a file of this name holds frames, one after the other."""
    return Path(out).suffix.lower() in (".gif", *WRITTEN)


def interpolate_files(
    model: TUNIT,
    source: Place,
    out: Place,
    references: Sequence[Place] = (),
    *,
    domains: Sequence[int | str] = (),
    frames: int = 8,
    fps: float = 12,
    loop: bool = False,
    overwrite: bool = False,
) -> Written:
    """Translate a picture, or a folder of them, to styles from one reference (or domain) to the next.

    The suffix of `out` says what is written: a strip with a row for each source (.png, .jpg, .webp), or a GIF or film
    (.mp4, .mov) of one source in its own shape, of several as a grid that always loops. References are pictures or
    folders of them; there are `frames` steps from each to the next. What cannot be read is left out, unless nothing
    else is there. Raises ValueError, FileNotFoundError, OSError.
    """
    if bool(references) == bool(domains):
        raise ValueError("interpolation needs two or more references or domains, and not both")
    if not fps > 0:
        raise ValueError(f"fps is {fps:g}; it must be above 0")
    target = Path(out)
    if not is_moving(target) and not images.is_picture(target):
        raise ValueError(f"{target} ends in {target.suffix!r}; expected .png, .jpg or .webp (a strip), .gif or .mp4")
    check_outside(target, source, *references)
    refuse_taken([target], overwrite)
    if is_film(target):
        ffmpeg()
    failed: list[ValueError | OSError] = []
    found = (file for _, file in named_files(Path(source), left_out=failed.append))
    sources = readable_files(found, left_out=failed.append)
    if not sources:
        raise failed[-1]
    stops = _stops(model, references, domains, failed)
    codes = path(stops, frames, loop=loop)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_moving(target):
        images.save_image(strip(model, sources, codes), target)
        return Written(len(codes), tuple(failed))
    single = len(sources) == 1
    pictures = moving_picture(model, sources[0], codes) if single else moving_grid(model, sources, stops, frames)
    if is_film(target):
        write_film(target, map(with_even_sides, pictures), fps)
    else:
        images.save_animation(pictures, target, fps)
    return Written(len(codes), tuple(failed))


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


def _stops(
    model: TUNIT, references: Sequence[Place], domains: Sequence[int | str], failed: list[ValueError | OSError]
) -> Tensor:
    """The style codes (P, style_dim) of the references or domains; appends to `failed` what could not be read."""
    if domains:
        return torch.cat([code for _, code in styles_of_domains(model, domains)])
    files = [file for place in references for _, file in named_files(Path(place), left_out=failed.append)]
    codes = styles_of(model, dict.fromkeys(files), left_out=failed.append)
    if not codes:
        raise failed[-1]
    return torch.cat([codes[file] for file in files if file in codes])
