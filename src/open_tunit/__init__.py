"""Image-to-image translation learned from one folder of images without any labels (TUNIT, ICCV 2021)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from open_tunit.evaluation.protocol import evaluate
    from open_tunit.model import TUNIT
    from open_tunit.settings.config import Config
    from open_tunit.sorting import sort_folder
    from open_tunit.training.loop import train
    from open_tunit.translation.interpolation import interpolate_files
    from open_tunit.translation.translating import translate_files

    __version__: str

__all__ = [
    "TUNIT",
    "Config",
    "__version__",
    "evaluate",
    "interpolate_files",
    "sort_folder",
    "train",
    "translate_files",
]

_HOMES = {
    "TUNIT": "open_tunit.model",
    "Config": "open_tunit.settings.config",
    "evaluate": "open_tunit.evaluation.protocol",
    "interpolate_files": "open_tunit.translation.interpolation",
    "sort_folder": "open_tunit.sorting",
    "train": "open_tunit.training.loop",
    "translate_files": "open_tunit.translation.translating",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name == "images":  # as scripts import it that were written before media/ was a room
        value = importlib.import_module("open_tunit.media.images")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("open-tunit")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
