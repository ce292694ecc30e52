"""The model that commands are given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from open_tunit.model_files import places

if TYPE_CHECKING:
    from open_tunit.model import TUNIT
    from open_tunit.settings.config import Precision

USUAL = Path(places.USUAL)


def open_model(model: Path, device: str, precision: Precision = "float32") -> TUNIT:
    """The model of a folder, a hub id or a bundled one's name, on the device; prints a line where it is bundled."""
    from open_tunit.device import choose_device, use_half
    from open_tunit.model import TUNIT

    place = choose_device(device)
    network = TUNIT.from_pretrained(model).to(place)
    network.in_bfloat16 = use_half(precision, place)
    if places.is_bundled(model):
        trained = network.about.get("data", {}).get("name", "images of its own")
        hint = "; --model names another" if model == USUAL else ""
        print(f"model: {model}, a bundled checkpoint, trained on {trained} alone{hint}")
    return network
