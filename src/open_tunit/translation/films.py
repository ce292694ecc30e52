"""Films of any length through a model at constant memory: a few frames at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import Tensor

from open_tunit.media.pictures import Pictures
from open_tunit.media.video import DamagedFilm, UnreadableFilm, UnwritableFilm, read_film, write_film
from open_tunit.model import TUNIT
from open_tunit.parts import groups

Target = str | os.PathLike[str]


def translate_film(
    model: TUNIT,
    source: Target,
    out: Target,
    reference: Pictures | None = None,
    *,
    domain: int | str | None = None,
    strength: float = 1.0,
) -> None:
    """Write `out` (.mp4 or .mov): the film `source`, each frame translated to one reference, or to a domain.

    Arguments as those of `TUNIT.translate`; frame rate, sound and look are the source's. Raises FileNotFoundError,
    ValueError (of these DamagedFilm after `out` was written from what could be read), UnwritableFilm (an OSError).
    """
    styles = model.target_styles(reference, domain)
    if len(styles) != 1:
        raise ValueError(f"there are {len(styles)} references; a film takes one")
    redraw_film(model, Path(source), Path(out), styles, strength=strength)


def redraw_film(model: TUNIT, source: Path, target: Path, style: Tensor, *, strength: float = 1.0) -> None:
    """Write the film `source` with each frame redrawn in the style code `style` (1, style_dim); as `translate_film`."""
    damage: list[DamagedFilm] = []
    with read_film(source) as film:
        target.parent.mkdir(parents=True, exist_ok=True)
        frames = _redrawn(model, _until_damage(film.frames, damage), style, strength)
        write_film(target, frames, film.frames_per_second, look=film.look, sound_of=source)
    if damage:
        raise DamagedFilm(f"{damage[0]}; these are in {target}")


def redraw_films(
    model: TUNIT,
    films: Iterable[Path],
    styles: Tensor,
    target: Callable[[Path, int], Path],
    *,
    strength: float = 1.0,
    failed: Callable[[UnreadableFilm | UnwritableFilm], Any],
) -> int:
    """Each film redrawn with each style code of `styles` (N, style_dim), to `target(film, position of the code)`.

    A film that cannot be read or written goes to `failed`, and the next one follows. Returns how many were written.
    """
    written = 0
    for film in films:
        for position, style in enumerate(styles.split(1)):
            try:
                redraw_film(model, film, target(film, position), style, strength=strength)
                written += 1
            except DamagedFilm as error:
                written += 1
                failed(error)
            except (UnreadableFilm, UnwritableFilm) as error:
                failed(error)
                break
    return written


def _until_damage(frames: Iterator[Image], damage: list[DamagedFilm]) -> Iterator[Image]:
    try:
        yield from frames
    except DamagedFilm as error:
        damage.append(error)


def _redrawn(model: TUNIT, frames: Iterator[Image], style: Tensor, strength: float) -> Iterator[Image]:
    for some in groups(frames, lambda frame: frame.width * frame.height):
        yield from model.redraw(some, style, strength=strength)
