"""The preset where none is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from open_tunit.model_files.places import CONFIG, model_folder
from open_tunit.settings.config import is_critters
from open_tunit.settings.presets import PRESETS


def usual_preset(data: str, out: str = "", init: str | None = None) -> str:
    """The preset where none is named: of presets that were trained and measured, the one for the pictures."""
    from open_tunit.networks.backbone import HOW_TO_INSTALL, is_installed
    from open_tunit.runs import stored_config

    stored = stored_config(Path(out)) if out else None
    if stored is not None:
        return stored.preset_name
    if init is not None:
        return "photos" if shapes_of(init)["model.trunk"] == PRESETS["photos"]["model.trunk"] else "cpu"
    if not data or is_critters(data):
        return "cpu"
    if is_installed():
        print("preset photos, as none was named (docs/own-folder.md)")
    else:
        print(f"preset cpu, as none was named; photographs need --preset photos: {HOW_TO_INSTALL}")
    return of_folders()


def of_folders() -> str:
    """The usual preset for a new run on a folder."""
    from open_tunit.networks.backbone import is_installed

    return "photos" if is_installed() else "cpu"


def shapes_of(init: str | None) -> dict[str, Any]:
    """Fine-tuning keeps the shapes of the networks it starts from."""
    if init is None:
        return {}
    from open_tunit.model_files.model_config import read_model_config

    shapes = dataclasses.asdict(read_model_config(model_folder(init) / CONFIG).model)
    return {f"model.{name}": value for name, value in shapes.items() if name != "projection_dim"}
