"""Films of any length through a model at constant memory: a few frames at once, all in one style."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from open_tunit.media.images import RefusedPicture
from open_tunit.media.pictures import Mask, Pictures, Source, read_mask
from open_tunit.media.video import DamagedFilm, UnreadableFilm, UnwritableFilm, read_film, write_film
from open_tunit.model import TUNIT
from open_tunit.networks.inference import redrawn
from open_tunit.networks.style_code import Colours, Strength, needs_own, strengths
from open_tunit.parts import groups
from open_tunit.translation.manner import PLAIN, Manner, masks_for

Target = str | os.PathLike[str]


def translate_film(
    model: TUNIT,
    source: Target,
    out: Target,
    reference: Pictures | None = None,
    *,
    domain: int | str | None = None,
    strength: float = 1.0,
    colours: Colours | None = None,
    whole: bool = False,
    mask: Mask | None = None,
) -> None:
    """Write `out` (.mp4 or .mov): the film `source`, each frame translated to one reference, or to a domain.

    Arguments as those of `TUNIT.translate`; frame rate, sound and look are the source's. Raises FileNotFoundError,
    ValueError (of these DamagedFilm after `out` was written from what could be read), UnwritableFilm (an OSError).
    """
    styles = model.target_styles(reference, domain)
    if len(styles) != 1:
        raise ValueError(f"there are {len(styles)} references; a film takes one")
    masks = masks_for({Path(source): Path(source).name}, mask)
    manner = Manner(strength=strengths(strength, colours), whole=whole, masks=masks)
    redraw_film(model, Path(source), Path(out), styles, manner)


@torch.inference_mode()
def redraw_film(model: TUNIT, source: Path, target: Path, style: Tensor, manner: Manner) -> None:
    """Write the film `source` with each frame redrawn in the style code `style` (1, style_dim); as `translate_film`."""
    own = _own_style(model, source) if needs_own(manner.strength) else None
    damage: list[DamagedFilm] = []
    mask = manner.masks.get(source)
    mask = None if mask is None else read_mask(mask)
    with read_film(source) as film:
        target.parent.mkdir(parents=True, exist_ok=True)
        frames = (Source(frame, manner.whole, mask) for frame in _until_damage(film.frames, damage))
        drawn = _redrawn(model, frames, own, style, manner.strength)
        try:
            write_film(target, drawn, film.frames_per_second, look=film.look, sound_of=source)
        except RefusedPicture as error:
            raise RefusedPicture(str(source), error.reason) from error
    if damage:
        raise DamagedFilm(f"{damage[0]}; these are in {target}")


def redraw_films(
    model: TUNIT,
    films: Iterable[Path],
    styles: Tensor,
    target: Callable[[Path, int], Path],
    manner: Manner = PLAIN,
    *,
    failed: Callable[[UnreadableFilm | UnwritableFilm | RefusedPicture], Any],
) -> int:
    """Each film redrawn with each style code of `styles` (N, style_dim), to `target(film, position of the code)`.

    A film that cannot be read, redrawn in this manner or written goes to `failed`, and the next one follows. Returns
    how many were written.
    """
    written = 0
    for film in films:
        for position, style in enumerate(styles.split(1)):
            try:
                redraw_film(model, film, target(film, position), style, manner)
                written += 1
            except DamagedFilm as error:
                written += 1
                failed(error)
            except (UnreadableFilm, UnwritableFilm, RefusedPicture) as error:
                failed(error)
                break
    return written


def _until_damage(frames: Iterator[Image], damage: list[DamagedFilm]) -> Iterator[Image]:
    try:
        yield from frames
    except DamagedFilm as error:
        damage.append(error)


def _own_style(model: TUNIT, source: Path) -> Tensor:
    """The film's own style code (1, style_dim), the mean of a frame a second: one for all frames, so none flickers."""
    with read_film(source) as film:
        each = max(1, round(film.frames_per_second))
        seconds = itertools.islice(_until_damage(film.frames, []), None, None, each)
        codes = [model.style(some) for some in groups(map(model.open, seconds), lambda frame: frame.pixels)]
    if not codes:
        raise UnreadableFilm(f"{source} has no frame that can be read")
    return torch.cat(codes).mean(dim=0, keepdim=True)


def _redrawn(
    model: TUNIT, frames: Iterator[Source], own: Tensor | None, style: Tensor, strength: Strength
) -> Iterator[Image]:
    own = None if own is None else own[:, None]
    for some in groups(map(model.open, frames), lambda frame: frame.pixels):
        x = torch.stack([frame.content for frame in some]).to(model.domain_styles)
        codes = style.to(x).expand(len(x), 1, -1)
        drawn = torch.cat(list(redrawn(model.G, x, own, codes, strength, half=model.in_bfloat16)))
        for frame, output in zip(some, drawn, strict=True):
            yield frame.with_output(output)
