"""`tunit translate`."""

from __future__ import annotations

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
        domain: Instead of a reference: a domain's number, or all.
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
    count = 0
    for name, picture in _pictures(source):
        for label, how in targets:
            path = out / Path(name).parent / f"{Path(name).stem}--{label}.png"
            if path.exists() and not overwrite:
                raise ValueError(f"{path} exists already; give --overwrite or another --out")
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(network, picture, path, how, strength)
            count += 1
    print(f"{count} translations in {out}")


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
    return [(Path(name).stem, path) for name, path in _pictures(place)]


def _domains(word: str, network: TUNIT) -> list[tuple[str, Path | int]]:
    if word == "all":
        filled = [k for k in range(network.config.domains) if network.domain_counts[k]]
        if not filled:
            raise ValueError("the model has no mean styles; give --reference")
        return [(f"domain{k}", k) for k in filled]
    if not word.isdecimal():
        raise ValueError(f"--domain is {word!r}; expected a number from 0 to {network.config.domains - 1}, or all")
    network.domain_style(int(word))
    return [(f"domain{word}", int(word))]
