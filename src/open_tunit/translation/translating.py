"""Pictures, films and folders of them, translated into files: all that `tunit translate` does, as one call."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from open_tunit.data.scan import check_outside
from open_tunit.media.pictures import Mask
from open_tunit.media.video import FILMS, ffmpeg, is_film
from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Colours, Strength, strengths
from open_tunit.translation.films import redraw_films
from open_tunit.translation.folders import save_redrawn
from open_tunit.translation.manner import Manner, masks_for
from open_tunit.translation.references import Asked
from open_tunit.translation.results import Results, Written, named_files

Place = str | os.PathLike[str]
Failure = Callable[[ValueError | OSError], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Translations to be written, all of a command's or a part of them."""

    results: Results
    styles: Tensor
    """The style codes (N, style_dim) that each source is redrawn in."""
    manner: Manner

    def part(self, sources: Iterable[Path]) -> Work:
        """The translations of some of the sources."""
        names = {path: self.results.names[path] for path in sources}
        masks = {path: mask for path in names if (mask := self.manner.masks.get(path)) is not None}
        manner = dataclasses.replace(self.manner, masks=masks)
        return dataclasses.replace(self, results=self.results._replace(names=names), manner=manner)

    def moved(self, source: Path, out: Path) -> Work:
        """The translations of sources that are relative paths, in the folder `source`, into the folder `out`."""
        names = {source / path: name for path, name in self.results.names.items()}
        masks = {source / path: mask for path, mask in self.manner.masks.items()}
        manner = dataclasses.replace(self.manner, masks=masks)
        return dataclasses.replace(self, results=self.results._replace(out=out, names=names), manner=manner)

    def write(self, model: TUNIT, *, failed: Failure) -> int:
        """Write them; returns how many. What cannot be read or redrawn goes to `failed`, in the sources' order.

        Pictures come before films. Raises OSError where a result cannot be written.
        """
        pictures = [path for path in self.results.names if not is_film(path)]
        films = [path for path in self.results.names if is_film(path)]
        count = save_redrawn(model, pictures, self.styles, self.results.of, self.manner, left_out=failed)
        return count + redraw_films(model, films, self.styles, self.results.of, self.manner, failed=failed)


def work_for(
    model: TUNIT,
    names: Mapping[Path, str],
    out: Path,
    asked: Asked,
    *,
    strength: Strength = 1.0,
    whole: bool = False,
    mask: Mask | None = None,
    failed: Failure,
) -> Work:
    """What is to be written for sources under their `names`. Raises ValueError, FileNotFoundError."""
    if any(map(is_film, names)):
        ffmpeg()
    manner = Manner(strength=strength, whole=whole, masks=masks_for(names, mask))
    styles = asked.styles(model, left_out=failed)
    return Work(results=Results(out, dict(names), list(styles)), styles=torch.cat(list(styles.values())), manner=manner)


def translate_files(
    model: TUNIT,
    source: Place,
    out: Place,
    reference: Place | None = None,
    *,
    domain: int | str | None = None,
    samples: int | None = None,
    seed: int = 0,
    neighbours: int | None = None,
    among: Place | None = None,
    strength: float = 1.0,
    colours: Colours | None = None,
    whole: bool = False,
    mask: Mask | None = None,
    overwrite: bool = False,
) -> Written:
    """Translate a picture, a film or a folder of both to each reference (a picture, or a folder), or to a domain.

    Results are OUT/SOURCE--REFERENCE.png (films: .mp4), in folders like the source's; where there is one, `out` may be
    its own name. With `neighbours` the references are that many pictures of the folder `among`, those whose styles are
    nearest to the reference's. `domain` is a number, a name, or "all". `mask` is a picture for all sources, a folder
    that has one of each source's name, or "alpha". The others are as in `TUNIT.translate`. Memory does not grow with
    the folders.

    What cannot be read is left out, unless nothing else is there. Raises ValueError, FileNotFoundError, OSError.
    """
    asked = Asked(
        reference=None if reference is None else Path(reference),
        neighbours=neighbours,
        among=None if among is None else Path(among),
        domain=domain,
        samples=samples,
        seed=seed,
    )
    walk = strengths(strength, colours)
    check_outside(out, source, reference, among)
    failed: list[ValueError | OSError] = []
    names = {path: name for name, path in named_files(Path(source), FILMS, left_out=failed.append)}
    work = work_for(model, names, Path(out), asked, strength=walk, whole=whole, mask=mask, failed=failed.append)
    work.results.check(overwrite=overwrite)
    count = work.write(model, failed=failed.append)
    if not count:
        raise failed[-1]
    return Written(count, tuple(failed))
