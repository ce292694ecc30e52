"""`tunit translate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from open_tunit.model import TUNIT


def translate(
    model: Path,
    source: Path,
    out: Path,
    reference: Path | None = None,
    domain: str | None = None,
    strength: float = 1.0,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
) -> None:
    """Redraw source pictures in the domain and style of references.

    Args:
        model: Model folder, such as RUN/model.
        source: Picture, or folder of pictures.
        out: Folder for the results; SOURCE--REFERENCE.png each, folders as in the source's.
        reference: Picture, or folder of pictures: each source is redrawn after each reference.
        domain: Instead of a reference: a domain's number or name, or all.
        strength: 0 keeps the source's own style, 1 takes the reference's.
        overwrite: Replace pictures that are there already.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if (reference is None) == (domain is None):
        raise ValueError("translate needs --reference FILE_OR_FOLDER or --domain K (or all), and not both")
    from open_tunit.model import TUNIT
    from open_tunit.training.device import choose_device

    network = TUNIT.from_pretrained(model).to(choose_device(device))
    targets = _references(reference) if reference is not None else _domains(domain or "", network)
    jobs = [(picture, how, out / f"{name}--{label}.png") for name, picture in _named(source) for label, how in targets]
    taken = next((path for _, _, path in jobs if path.exists()), None)
    if taken is not None and not overwrite:
        raise ValueError(f"{taken} exists already; give --overwrite or another --out")
    for picture, how, path in jobs:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(network, picture, path, how, strength)
    print(f"{len(jobs)} translations in {out}")


def _save(network: TUNIT, picture: Path, path: Path, how: Path | int, strength: float) -> None:
    from open_tunit.images import save_image

    if isinstance(how, Path):
        image = network.translate(picture, how, strength=strength)
    else:
        image = network.translate(picture, domain=how, strength=strength)
    save_image(image, path)


def _pictures(place: Path) -> Iterator[tuple[str, Path]]:
    """Names relative to `place`, and files."""
    if not place.is_dir():
        yield place.name, place
        return
    from open_tunit.data.scan import scan

    for name in scan(place):
        yield name, place / name


def _references(place: Path) -> list[tuple[str, Path | int]]:
    return [(name.replace("/", "-"), path) for name, path in _named(place)]


def _named(place: Path) -> list[tuple[str, Path]]:
    """Relative paths without their suffix, unless that is all that tells two apart; and files."""
    found = list(_pictures(place))
    plain = [Path(name).with_suffix("").as_posix() for name, _ in found]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [(name if short in twice else short, path) for short, (name, path) in zip(plain, found, strict=True)]


def _domains(word: str, network: TUNIT) -> list[tuple[str, Path | int]]:
    if word == "all":
        filled = [k for k in range(network.config.domains) if network.domain_counts[k]]
        if not filled:
            raise ValueError("the model has no mean styles; give --reference")
        return [(network.naming.label(k), k) for k in filled]
    network.domain_style(word)
    number = network.naming.number(word)
    return [(network.naming.label(number), number)]
