"""The model that commands are given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from open_tunit import places

if TYPE_CHECKING:
    from open_tunit.model import TUNIT

BUNDLED = Path(places.BUNDLED)


def open_model(model: Path, device: str) -> TUNIT:
    """The model of a folder, hub id or `critters`, on the device; says so where it is the bundled one."""
    from open_tunit.model import TUNIT
    from open_tunit.training.device import choose_device

    network = TUNIT.from_pretrained(model).to(choose_device(device))
    if places.is_bundled(model):
        print(f"model: {model}, which comes with open-tunit and draws nothing else; --model names another")
    return network
