"""`tunit translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from open_tunit.cli.models import USUAL, open_model
from open_tunit.settings.config import Precision
from open_tunit.urls import is_url

if TYPE_CHECKING:
    from open_tunit.translation.references import Asked

OBLONG, LOOKED_AT = 1.1, 20
"""Long side over short side; pictures of a folder that are looked at."""


def translate(
    source: Annotated[str, tyro.conf.arg(metavar="PATH")],
    out: Annotated[str, tyro.conf.arg(metavar="PATH")],
    model: Path = USUAL,
    reference: Path | None = None,
    domain: str | None = None,
    neighbours: int | None = None,
    among: Path | None = None,
    sample: int | None = None,
    seed: int | None = None,
    strength: float = 1.0,
    colours: Literal["source", "reference"] | float | None = None,
    whole: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    mask: str | None = None,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    engine: Literal["local", "ray"] = "local",
    shards: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
    precision: Precision = "float32",
) -> None:
    """Translate source pictures and films to the domain and style of references.

    Args:
        source: Picture or film (.mp4, .mov, ...), folder of them, or shards (.tar).
        out: Folder for the results, SOURCE--REFERENCE.png (films: .mp4) each; or, for one result, its file.
        model: Model folder, such as RUN/model, a hub id, or a bundled one (critters, fruits).
        reference: Picture, or folder of pictures: each source is translated to each reference.
        domain: Instead: a domain's number, name, or all.
        neighbours: Use the N pictures of --among nearest in style to the reference, in its place.
        among: Folder of pictures, such as the one that was trained on.
        sample: Number of styles drawn from the domain.
        seed: Random seed of the samples (0).
        strength: Interpolation between the source's own style code (0) and the reference's (1).
        colours: source: keep its colours; reference: take only those; or a strength, 0 to 1.
        whole: Translate all of each picture, not its middle square.
        mask: Picture, folder of them by source's name, or alpha (its own): white is redrawn.
        overwrite: Replace pictures that are there already.
        engine: ray: many machines, URLs, shards.
        shards: Results in WebDataset shards, with ray.
        device: auto, cpu, cuda, cuda:1, ...
        precision: bfloat16 differs by about a grey level; auto is bfloat16 where it is fast.
    """
    if engine == "local":
        _check_local(source, out, shards)
    if (reference is None) == (domain is None):
        raise ValueError("translate needs --reference FILE_OR_FOLDER or --domain K (or all), and not both")
    if domain is None and sample is not None:
        raise ValueError(f"--sample {sample} needs --domain K (or all): styles are drawn from a domain")
    if sample is None and seed is not None:
        raise ValueError(f"--seed is {seed}, but nothing is drawn at random; give --sample N with it")
    from open_tunit.media.images import free_large_pictures
    from open_tunit.media.video import DamagedFilm
    from open_tunit.networks.style_code import strengths
    from open_tunit.translation.references import Asked
    from open_tunit.translation.translating import translate_files

    free_large_pictures()
    walk = strengths(strength, colours)  # so that nothing is loaded for numbers that are out of range
    asked = Asked(
        reference=reference, neighbours=neighbours, among=among, domain=domain, samples=sample, seed=seed or 0
    )
    if engine == "ray":
        _on_ray(
            model, source, out, asked, device, precision,
            strength=walk, whole=whole, mask=mask, overwrite=overwrite, shards=shards,
        )  # fmt: skip
        return
    network = open_model(model, device, precision)
    done = translate_files(
        network,
        source,
        out,
        reference,
        neighbours=neighbours,
        among=among,
        domain=domain,
        samples=sample,
        seed=seed or 0,
        strength=strength,
        colours=colours,
        whole=whole,
        mask=mask,
        overwrite=overwrite,
    )
    for line in dict.fromkeys(map(str, done.left_out)):
        print(f"warning: {line}")
    print(f"{done.count} translation{'s' * (done.count != 1)} {'in' if Path(out).is_dir() else 'as'} {out}")
    oblong = _oblong(Path(source)) if network.fit == "crop" and not (whole or mask) else None
    if oblong is not None:
        print(f"{oblong} is not square: its middle square was redrawn; --whole redraws all of it")
    if damaged := [error for error in done.left_out if isinstance(error, DamagedFilm)]:
        raise damaged[-1]


def _oblong(source: Path) -> Path | None:
    """The first of the folder's first pictures, or the picture, that is longer one way."""
    from PIL import Image

    from open_tunit.media.video import FILMS
    from open_tunit.translation.results import named_files

    for _, path in named_files(source, FILMS)[:LOOKED_AT]:
        try:
            with Image.open(path) as picture:
                if max(picture.size) > OBLONG * min(picture.size):
                    picture.load()
                    return path
        except (OSError, ValueError, Image.DecompressionBombError):  # films, and what was left out with its reason
            continue
    return None


def _check_local(source: str, out: str, shards: bool) -> None:
    """Raise ValueError for what Ray alone can do."""
    from open_tunit.data.shards import is_shards

    if is_url(source) or is_url(out):
        raise ValueError(f"--source is {source}, --out {out}; URLs need --engine ray")
    if is_shards(source):
        raise ValueError(f"--source is {source}; shards need --engine ray")
    if shards:
        raise ValueError("--shards is given; results in shards need --engine ray")


def _on_ray(model: Path, source: str, out: str, asked: Asked, device: str, precision: Precision, **manner: Any) -> None:
    import ray  # noqa: F401, before anything is loaded

    from open_tunit.scale.manifest import DEAD_LETTERS
    from open_tunit.scale.ray_translation import translate_on_ray

    network = open_model(model, device, precision)
    done = translate_on_ray(network, source, out, asked, device=device, precision=precision, **manner)
    print(f"{done.before + done.now:,} sources are translated in {out}")
    if done.now:
        rate = f"{done.now / done.seconds:.3g} sources a second"
        print(f"{done.now:,} of them now, in {done.seconds:.3g} s: {rate} with {done.actors} actors")
    if done.pattern is not None:
        print(f"tunit train --data '{done.pattern}'")
    if done.dead:
        print(f"warning: {len(done.dead):,} left out, with the reasons in {out}/{DEAD_LETTERS}")
