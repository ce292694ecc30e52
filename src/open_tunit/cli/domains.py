"""`tunit domains`: sort a folder, or sweep the number of domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from open_tunit.cli.models import USUAL, open_model
from open_tunit.cli.usual_preset import usual_preset
from open_tunit.model_files.places import NAMES


def domains(
    action: Annotated[Literal["sort", "sweep"], tyro.conf.Positional] = "sort",
    data: str = "",
    model: Path = USUAL,
    out: Path | None = None,
    map: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    preset: str | None = None,
    size: int | None = None,
    steps: int | None = None,
    fewest: int = 2,
    most: int = 12,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Sort a folder of pictures into a model's domains, or sweep: estimate the number of domains of a folder.

    Args:
        action: sort needs --data and --out; sweep needs --data, and trains a guiding network (E) but
            with preset photos, whose E is fitted.
        data: Folder of pictures; sweep also takes critters:K.
        model: sort: model folder, such as RUN/model, a hub id, or a bundled one (critters, fruits).
        out: Folder for domains.csv, contact sheets and domains.yaml (sort), or domains.json (sweep).
        map: sort: also draw the style map, by t-SNE, and by UMAP where it is installed.
        preset: sweep: whose guiding network and number of steps are used; unnamed, as of tunit train.
        size: sweep: side of the images in pixels.
        steps: sweep: steps of the phase that trains E alone (the preset's); sweep takes up to 1.3 times as many.
        fewest: sweep: smallest number of domains.
        most: sweep: largest number of domains.
        seed: sweep: random seed.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if not data:
        raise ValueError("domains needs --data FOLDER")
    if action == "sweep":
        _sweep(data, out, preset, size, steps, (fewest, most), seed, device)
    elif out is None:
        raise ValueError("domains needs --out FOLDER, or sweep as its first word")
    else:
        _sort(model, Path(data), out, device, map)


def _sort(model: Path, data: Path, out: Path, device: str, style_map: bool) -> None:
    from open_tunit.sorting import sort_folder

    network = open_model(model, device)
    found = sort_folder(network, data, out, style_map=style_map)
    for path, reason in found.unreadable:
        print(f"warning: {path} {reason}")
    names = network.naming.names
    print("images per domain: " + ", ".join(f"{names[k]}: {count}" for k, count in enumerate(found.counts)))
    print(f"table and contact sheets in {out}; edit {out / NAMES} to name the domains")


def _sweep(
    data: str,
    out: Path | None,
    preset: str | None,
    size: int | None,
    steps: int | None,
    bounds: tuple[int, int],
    seed: int,
    device: str,
) -> None:
    from rich.console import Console

    from open_tunit.runs import CURVE
    from open_tunit.settings.config import Config
    from open_tunit.training.fitting.domain_count import sweep

    if not 2 <= bounds[0] <= bounds[1]:
        raise ValueError(f"--fewest is {bounds[0]} and --most {bounds[1]}; expected 2 or more, and --most no smaller")
    if out is not None and (out / CURVE).exists():
        raise ValueError(f"{out / CURVE} exists already; name another folder")
    length = {} if steps is None else {"training.joint_start": steps}
    config = Config.preset(
        preset or usual_preset(data),
        data=data,
        out=str(out or "sweep"),
        domains="auto",
        size=size,
        seed=seed,
        device=device,
        overrides=length,
    )
    curve = sweep(config, range(bounds[0], bounds[1] + 1), console=Console())
    if out is not None:
        curve.save(out)
        print(f"curve in {out / CURVE}")
