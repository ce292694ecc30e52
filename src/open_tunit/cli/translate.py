"""`tunit translate`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from open_tunit.cli.models import USUAL, open_model
from open_tunit.settings.config import Precision

if TYPE_CHECKING:
    from torch import Tensor

    from open_tunit.model import TUNIT


def translate(
    source: Path,
    out: Path,
    model: Path = USUAL,
    reference: Path | None = None,
    domain: str | None = None,
    sample: int | None = None,
    seed: int | None = None,
    strength: float = 1.0,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
    precision: Precision = "float32",
) -> None:
    """Translate source pictures and films to the domain and style of references.

    Args:
        source: Picture or film (.mp4, .mov, ...), or folder of them.
        out: Folder for the results; SOURCE--REFERENCE.png (films: .mp4) each, folders as in the source's. Or the file's
            own name, .png, .jpg, ... (films: .mp4, .mov), where there is one result.
        model: Model folder, such as RUN/model, a hub id, or a bundled checkpoint (critters).
        reference: Picture, or folder of pictures: each source is translated to each reference.
        domain: Instead of a reference: a domain's number or name, or all.
        sample: Number of styles to draw at random from the domain, in place of its mean style.
        seed: Random seed of the samples (0).
        strength: Interpolation between the source's own style code (0) and the reference's (1).
        overwrite: Replace pictures that are there already.
        device: auto, cpu, cuda, cuda:1, ...
        precision: float32, bfloat16 (differs by about one grey level), or auto: bfloat16 where the hardware has it.
    """
    if (reference is None) == (domain is None):
        raise ValueError("translate needs --reference FILE_OR_FOLDER or --domain K (or all), and not both")
    if domain is None and sample is not None:
        raise ValueError(f"--sample {sample} needs --domain K (or all): styles are drawn from a domain")
    if sample is None and seed is not None:
        raise ValueError(f"--seed is {seed}, but nothing is drawn at random; give --sample N with it")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}; expected 0 (the source's own style) to 1 (the reference's)")
    import torch

    from open_tunit.media.video import FILMS, DamagedFilm, ffmpeg, is_film
    from open_tunit.translation.films import redraw_films
    from open_tunit.translation.folders import save_redrawn
    from open_tunit.translation.results import Results, named_files

    network = open_model(model, device, precision)
    failed: list[ValueError | OSError] = []
    sources = named_files(source, FILMS, left_out=failed.append)
    films = [path for _, path in sources if is_film(path)]
    pictures = [path for _, path in sources if not is_film(path)]
    if films:
        ffmpeg()
    if reference is not None:
        styles = _styles(network, reference, failed)
    else:
        styles = _domain_styles(network, domain or "", sample, seed or 0)
    codes = torch.cat(list(styles.values()))
    results = Results(out, {path: name for name, path in sources}, list(styles))
    results.check(overwrite=overwrite)
    count = save_redrawn(network, pictures, codes, results.of, strength=strength, left_out=failed.append)
    count += redraw_films(network, films, codes, results.of, strength=strength, failed=failed.append)
    if not count:
        raise failed[-1]
    for line in dict.fromkeys(map(str, failed)):
        print(f"warning: {line}")
    print(f"{count} translation{'s' * (count != 1)} {'as' if results.is_file else 'in'} {out}")
    if damaged := [error for error in failed if isinstance(error, DamagedFilm)]:
        raise damaged[-1]


def _styles(network: TUNIT, reference: Path, failed: list[ValueError | OSError]) -> dict[str, Tensor]:
    """Label -> style code of each reference; appends to `failed` what could not be read."""
    from open_tunit.translation.folders import styles_of
    from open_tunit.translation.results import named_files

    names = {path: name.replace("/", "-") for name, path in named_files(reference, left_out=failed.append)}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"two references of {reference} would both be called {twice[0]}; rename one")
    styles = styles_of(network, names, left_out=failed.append)
    if not styles:
        raise failed[-1]
    return {names[path]: code for path, code in styles.items()}


def _domain_styles(network: TUNIT, domain: str, sample: int | None, seed: int) -> dict[str, Tensor]:
    """Label -> mean style of the domain, or of all; or its samples."""
    from open_tunit.translation.folders import sampled_styles, styles_of_domains

    if sample is None:
        found = dict(styles_of_domains(network, (domain,)))
    else:
        found = dict(sampled_styles(network, domain, sample, seed=seed))
    empty = len(set(network.naming.heads)) - len(found) // (sample or 1)
    if domain == "all" and empty:
        print(f"warning: {empty} domain{'s have' if empty != 1 else ' has'} no images, and so no mean style")
    return found
