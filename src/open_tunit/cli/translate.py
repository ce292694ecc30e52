"""`tunit translate`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from open_tunit.cli.models import BUNDLED, open_model

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from open_tunit.model import TUNIT

FRAMES_AT_ONCE = 8


def translate(
    source: Path,
    out: Path,
    model: Path = BUNDLED,
    reference: Path | None = None,
    domain: str | None = None,
    strength: float = 1.0,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
) -> None:
    """Redraw source pictures in the domain and style of references.

    Args:
        source: Picture or MP4 film, or folder of them.
        out: Folder for the results; SOURCE--REFERENCE.png (films: .mp4) each, folders as in the source's.
        model: Model folder, such as RUN/model, a hub id, or critters, which comes along.
        reference: Picture, or folder of pictures: each source is redrawn after each reference.
        domain: Instead of a reference: a domain's number or name, or all.
        strength: 0 keeps the source's own style, 1 takes the reference's.
        overwrite: Replace pictures that are there already.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if (reference is None) == (domain is None):
        raise ValueError("translate needs --reference FILE_OR_FOLDER or --domain K (or all), and not both")
    from open_tunit.cli.pictures import domain_codes, named_files, refuse_taken
    from open_tunit.images import UnreadableImage
    from open_tunit.video import FILMS, UnreadableFilm, ffmpeg, is_film

    network = open_model(model, device)
    sources = named_files(source, FILMS)
    if any(is_film(path) for _, path in sources):
        ffmpeg()
    if reference is not None:
        targets = [(name.replace("/", "-"), network.style(path)) for name, path in named_files(reference)]
    else:
        targets = domain_codes((domain or "",), network)
    jobs = [
        (path, [(out / f"{name}--{label}{'.mp4' if is_film(path) else '.png'}", code) for label, code in targets])
        for name, path in sources
    ]
    refuse_taken([result for _, results in jobs for result, _ in results], overwrite)
    left_out = []
    for path, results in jobs:
        try:
            for result, code in results:
                _save(network, path, result, code, strength)
        except (UnreadableImage, UnreadableFilm) as error:
            left_out.append(str(error))
            if len(left_out) == len(jobs):
                raise
    for line in left_out:
        print(f"left out: {line}")
    count = (len(jobs) - len(left_out)) * len(targets)
    print(f"{count} translation{'s' * (count != 1)} in {out}")


def _save(network: TUNIT, source: Path, target: Path, code: Tensor, strength: float) -> None:
    from open_tunit.images import save_image
    from open_tunit.video import is_film, read_film, write_film

    if is_film(source):
        with read_film(source) as (rate, frames):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_film(target, _redrawn(network, frames, code, strength), rate, sound_of=source)
        return
    (image,) = network.redraw([source], code, strength=strength)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, target)


def _redrawn(network: TUNIT, frames: Iterator[Image], code: Tensor, strength: float) -> Iterator[Image]:
    while part := list(itertools.islice(frames, FRAMES_AT_ONCE)):
        yield from network.redraw(part, code, strength=strength)
