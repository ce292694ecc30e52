"""Pictures, films and folders of them, translated into files: all that `tunit translate` does, as one call."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from open_tunit.media.pictures import Mask
from open_tunit.media.video import FILMS, ffmpeg, is_film
from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Colours, strengths
from open_tunit.translation.films import redraw_films
from open_tunit.translation.folders import sampled_styles, save_redrawn, styles_of, styles_of_domains
from open_tunit.translation.manner import Manner, masks_for
from open_tunit.translation.results import Results, Written, named_files

Place = str | os.PathLike[str]
Failure = Callable[[ValueError | OSError], object]


def translate_files(
    model: TUNIT,
    source: Place,
    out: Place,
    reference: Place | None = None,
    *,
    domain: int | str | None = None,
    samples: int | None = None,
    seed: int = 0,
    strength: float = 1.0,
    colours: Colours | None = None,
    whole: bool = False,
    mask: Mask | None = None,
    overwrite: bool = False,
) -> Written:
    """Translate a picture, a film or a folder of both to each reference (a picture, or a folder), or to a domain.

    Results are OUT/SOURCE--REFERENCE.png (films: .mp4), in folders like the source's; where there is one, `out` may be
    its own name. `domain` is a number, a name, or "all". `mask` is a picture for all sources, a folder that has one of
    each source's name, or "alpha". The others are as in `TUNIT.translate`. Memory does not grow with the folders.

    What cannot be read is left out, unless nothing else is there. Raises ValueError, FileNotFoundError, OSError.
    """
    if (reference is None) == (domain is None):
        raise ValueError("translate needs a reference or a domain, and not both")
    if reference is not None and samples is not None:
        raise ValueError(f"samples is {samples}, and there is a reference; a domain's styles are sampled")
    walk = strengths(strength, colours)
    failed: list[ValueError | OSError] = []
    names = {path: name for name, path in named_files(Path(source), FILMS, left_out=failed.append)}
    films = [path for path in names if is_film(path)]
    if films:
        ffmpeg()
    manner = Manner(strength=walk, whole=whole, masks=masks_for(names, mask))
    if reference is not None:
        styles = _styles(model, Path(reference), failed.append)
    else:
        assert domain is not None
        styles = _domain_styles(model, domain, samples, seed, failed.append)
    codes = torch.cat(list(styles.values()))
    results = Results(Path(out), names, list(styles))
    results.check(overwrite=overwrite)
    pictures = [path for path in names if not is_film(path)]
    count = save_redrawn(model, pictures, codes, results.of, manner, left_out=failed.append)
    count += redraw_films(model, films, codes, results.of, manner, failed=failed.append)
    if not count:
        raise failed[-1]
    return Written(count, tuple(failed))


def _styles(model: TUNIT, reference: Path, left_out: Failure) -> dict[str, Tensor]:
    """Label -> style code of each reference."""
    failed: list[ValueError] = []
    names = {path: name.replace("/", "-") for name, path in named_files(reference, left_out=failed.append)}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"two references of {reference} would both be called {twice[0]}; rename one")
    styles = styles_of(model, names, left_out=failed.append)
    if not styles:
        raise failed[-1]
    for error in failed:
        left_out(error)
    return {names[path]: code for path, code in styles.items()}


def _domain_styles(
    model: TUNIT, domain: int | str, samples: int | None, seed: int, left_out: Failure
) -> dict[str, Tensor]:
    """Label -> mean style of the domain, or of all; or its samples."""
    if samples is None:
        found = dict(styles_of_domains(model, (domain,)))
    else:
        found = dict(sampled_styles(model, domain, samples, seed=seed))
    empty = len(set(model.naming.heads)) - len(found) // (samples or 1)
    if domain == "all" and empty:
        left_out(ValueError(f"{empty} domain{'s have' if empty != 1 else ' has'} no images, and so no mean style"))
    return found
