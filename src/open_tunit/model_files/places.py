"""Where a model lies: in a folder here, in this package, or in the hub's cache."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from open_tunit.model_files.hub_download import download, is_hub_id

CONFIG, WEIGHTS, NAMES, CARD, EXAMPLES = "config.json", "model.safetensors", "domains.yaml", "README.md", "examples"
"""What a model folder holds; the first two are always there."""
MODEL = "model"
"""The folder of a run's model, for which the run stands."""
TRAINING_HASHES = "training_hashes"
"""Under which a run's data.json, and a model's config.json where they are few, hold the training images by content."""
PARENT_UNKNOWN = "parent_images_unknown"
"""Beside them where the run began with a model whose training images are not known."""
BUNDLED = Path(__file__).parents[1] / "bundled"
"""The folder of the bundled checkpoints, so that commands work before anything has been trained."""
USUAL = "critters"
"""The bundled checkpoint that commands take where no model is named."""


def bundled_names() -> tuple[str, ...]:
    """The names of the bundled checkpoints, the usual one first."""
    found = {path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}")}
    return (USUAL, *sorted(found - {USUAL}))


def bundled_folder(name: str) -> Path:
    """Where the bundled checkpoint of that name lies."""
    return BUNDLED / name


def is_bundled(place: str | os.PathLike[str]) -> bool:
    """Whether `place` is a bundled checkpoint's name, and no model or run here is called so."""
    path = Path(place)
    return path.as_posix() in bundled_names() and not (path / CONFIG).exists() and not (path / MODEL).exists()


def model_folder(place: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """The folder of a model given as a folder, as the name of a bundled one, or as a hub id, fetched once.

    A model here under a bundled one's name comes before it; a run stands for its model; `user/name` is a hub id where
    no folder here is called `user`. `revision` is a hub id's branch, tag or commit. Raises FileNotFoundError when it is
    no model folder, ValueError for a revision of anything but a hub id.
    """
    path = Path(place)
    if is_hub_id(path.as_posix()) and not path.exists() and not path.parent.is_dir():
        return download(path.as_posix(), (CONFIG, WEIGHTS), optional=(NAMES,), revision=revision)
    if revision is not None:
        raise ValueError(f"revision is {revision!r}, but {path} is no hub id; only hub ids have revisions")
    if is_bundled(path):
        return bundled_folder(path.as_posix())
    if not path.exists():
        raise FileNotFoundError(f"{path} is not a model folder: it does not exist{_perhaps(path)}{_not_asked(path)}")
    if not (path / CONFIG).is_file() and (path / MODEL / CONFIG).is_file():
        path = path / MODEL
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path} is not a model folder: it has no {name}{_perhaps(path)}")
    return path


def _not_asked(path: Path) -> str:
    return f"; the hub is not asked, as {path.parent} is a folder here" if is_hub_id(path.as_posix()) else ""


def _perhaps(path: Path) -> str:
    """What the user may have meant instead of a `path` that is no model folder."""
    meant = difflib.get_close_matches(path.as_posix(), bundled_names(), n=1)
    return f"; a bundled checkpoint is called {meant[0]}" if meant else ""
