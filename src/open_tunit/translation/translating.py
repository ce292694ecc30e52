"""Pictures, films and folders of them, translated into files: all that `tunit translate` does, as one call."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from open_tunit.media.pictures import Mask
from open_tunit.media.video import FILMS, ffmpeg, is_film
from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Colours, strengths
from open_tunit.translation.films import redraw_films
from open_tunit.translation.folders import save_redrawn
from open_tunit.translation.manner import Manner, masks_for
from open_tunit.translation.references import Asked
from open_tunit.translation.results import Results, Written, named_files

Place = str | os.PathLike[str]


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
    failed: list[ValueError | OSError] = []
    names = {path: name for name, path in named_files(Path(source), FILMS, left_out=failed.append)}
    films = [path for path in names if is_film(path)]
    if films:
        ffmpeg()
    manner = Manner(strength=walk, whole=whole, masks=masks_for(names, mask))
    styles = asked.styles(model, left_out=failed.append)
    codes = torch.cat(list(styles.values()))
    results = Results(Path(out), names, list(styles))
    results.check(overwrite=overwrite)
    pictures = [path for path in names if not is_film(path)]
    count = save_redrawn(model, pictures, codes, results.of, manner, left_out=failed.append)
    count += redraw_films(model, films, codes, results.of, manner, failed=failed.append)
    if not count:
        raise failed[-1]
    return Written(count, tuple(failed))
