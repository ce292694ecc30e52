"""`tunit info`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from open_tunit.model_files.places import CONFIG, MODEL, TRAINING_HASHES, bundled_folder, bundled_names, model_folder


def info(place: Annotated[Path | None, tyro.conf.Positional] = None) -> None:
    """Print what is in a run or a model folder; without one, which checkpoints are bundled.

    Args:
        place: A run (RUN), a model folder (RUN/model), a hub id, or a bundled one (critters, fruits).
    """
    if place is None:
        _bundled()
        return
    from open_tunit.files import read_json_lines
    from open_tunit.model_files.model_config import read_model_config
    from open_tunit.model_files.naming import read_naming
    from open_tunit.runs import LOG

    run = place / MODEL
    path = model_folder(run if run.is_dir() else place) / CONFIG
    config = read_model_config(path)
    names = read_naming(path.parent, config.model.domains, config.labels).names
    if any(name != str(number) for number, name in enumerate(names)):
        print(f"{'domain names':24} {', '.join(names)}")
    for name, value in {**dataclasses.asdict(config.model), "fit": config.fit, **_flat(config.about)}.items():
        print(f"{name:24} {value}")
    for report in read_json_lines(place / LOG)[-1:]:
        for name, value in _flat(report, "last report.").items():
            print(f"{name:24} {value:.4g}" if isinstance(value, float) else f"{name:24} {value}")


def _bundled() -> None:
    from open_tunit.model_files.model_config import read_model_config

    for name in bundled_names():
        config = read_model_config(bundled_folder(name) / CONFIG)
        trained = config.about.get("data", {}).get("name", "images of its own")
        print(f"{name:24} {config.model.domains} domains at {config.model.size} px, trained on {trained}")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name != TRAINING_HASHES:  # thousands of them
            flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
