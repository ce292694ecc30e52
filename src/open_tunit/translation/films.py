"""Films of any length through a model at constant memory: a few frames at once, all in one style."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from open_tunit.media.images import RefusedPicture
from open_tunit.media.pictures import Mask, Opened, Pictures, Source, counted_pixels, read_mask
from open_tunit.media.video import DamagedFilm, UnreadableFilm, UnwritableFilm, read_film, write_film
from open_tunit.model import TUNIT
from open_tunit.networks.colour_transfer import ColourMap, colour_map, moments, pooled
from open_tunit.networks.inference import singly
from open_tunit.networks.style_code import Colours, Strengths, needs_own, strengths
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
    damage: list[DamagedFilm] = []
    mask = manner.masks.get(source)
    manner = dataclasses.replace(manner, masks={} if mask is None else {source: read_mask(mask)})
    look = _look(model, source, style, manner)
    with read_film(source) as film:
        target.parent.mkdir(parents=True, exist_ok=True)
        frames = (manner.frame(source, frame) for frame in _until_damage(film.frames, damage))
        drawn = _redrawn(model, frames, look)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Look:
    """What is one for all frames, so that none flickers."""

    style: Tensor
    """The style code (1, style_dim)."""
    own: Tensor | None
    """The film's own (1, style_dim), where it counts."""
    strength: float
    colours: ColourMap | None

    def drawn(self, model: TUNIT, x: Tensor, strength: float) -> Tensor:
        """Frames (N, 3, H, W) at a strength; at 0 as they are."""
        own = None if self.own is None else self.own.to(x)[:, None]
        codes = self.style.to(x).expand(len(x), 1, -1)
        return torch.cat(list(singly(model.G, x, own, codes, strength, half=model.in_bfloat16)))


def _look(model: TUNIT, source: Path, style: Tensor, manner: Manner) -> _Look:
    """By a frame a second: the mean of their style codes, and the colour map between their mean moments."""
    both = manner.strength
    own = _own_style(model, source) if needs_own(both) else None
    if not isinstance(both, Strengths):
        return _Look(style=style, own=own, strength=both, colours=None)
    look = _Look(style=style, own=own, strength=both.style, colours=None)
    given, wanted = [], []
    for some in _seconds(model, source, manner):
        x, counted = _contents(model, some), counted_pixels(some)
        given.append(moments(look.drawn(model, x, both.style), counted))
        wanted.append(moments(look.drawn(model, x, both.colours), counted))
    return dataclasses.replace(look, colours=colour_map(pooled(given), pooled(wanted)))


def _seconds(model: TUNIT, source: Path, manner: Manner) -> Iterator[list[Opened]]:
    """A frame a second. Raises UnreadableFilm where there is none."""
    found = False
    with read_film(source) as film:
        each = max(1, round(film.frames_per_second))
        frames = itertools.islice(_until_damage(film.frames, []), None, None, each)
        opened = (model.open(manner.frame(source, frame)) for frame in frames)
        for some in groups(opened, lambda frame: frame.pixels):
            found = True
            yield some
    if not found:
        raise UnreadableFilm(f"{source} has no frame that can be read")


def _own_style(model: TUNIT, source: Path) -> Tensor:
    """The film's own style code (1, style_dim)."""
    codes = [model.style(some) for some in _seconds(model, source, PLAIN)]
    return torch.cat(codes).mean(dim=0, keepdim=True)


def _contents(model: TUNIT, frames: Sequence[Opened]) -> Tensor:
    return torch.stack([frame.content for frame in frames]).to(model.domain_styles)


def _redrawn(model: TUNIT, frames: Iterator[Source], look: _Look) -> Iterator[Image]:
    for some in groups(map(model.open, frames), lambda frame: frame.pixels):
        drawn = look.drawn(model, _contents(model, some), look.strength)
        if look.colours is not None:
            drawn = look.colours(drawn)
        for frame, output in zip(some, drawn, strict=True):
            yield frame.with_output(output)
