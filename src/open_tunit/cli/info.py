"""`tunit info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from open_tunit.places import CONFIG, model_folder


def info(place: Annotated[Path, tyro.conf.Positional]) -> None:
    """Say what is in a run or a model folder.

    Args:
        place: A run (RUN), a model folder (RUN/model), a hub id, or critters, which comes along.
    """
    from open_tunit.config import read_model_config

    run = place / "model"
    path = model_folder(run if run.is_dir() else place) / CONFIG
    values = read_model_config(path.read_text(encoding="utf-8"), str(path))
    for name, value in {**values["model"], "fit": values["fit"], **_flat(values.get("about", {}))}.items():
        print(f"{name:24} {value}")
    log = place / "log.jsonl"
    if log.is_file() and (lines := log.read_text(encoding="utf-8").splitlines()):
        print(f"{'last report':24} {json.loads(lines[-1])}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
