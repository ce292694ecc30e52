"""Whether the processes of a group would train the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from open_tunit.data.dataset import Dataset
from open_tunit.training.distributed.group import Group
from open_tunit.training.plan import Plan

PLACES = ("device", "cache", "out", "init", "data.folder", "data.labels")
"""Settings that may differ from machine to machine."""


def check_alike(plan: Plan, dataset: Dataset, half: bool, group: Group) -> None:
    """Raise ValueError where processes have other code, images or settings, or one would have no image of a batch."""
    if group.size == 1:
        return
    smallest = min(plan.training.batch, plan.training.guiding_batch or plan.training.batch)
    if group.size > smallest:
        message = f"batches of {smallest} images cannot be divided among {group.size} processes: start fewer"
        larger = "training.batch=N" if plan.recipe.pretrained else "training.batch=N and training.guiding_batch=N"
        raise group.error(ValueError(f"{message}, or --set {larger}"))
    settings = {name: value for name, value in _named(plan.config.to_dict()) if name not in PLACES}
    own = {"code": _code(), "images": dataset.fingerprint, "labels": dataset.labels_fingerprint, "recipe": plan.recipe}
    group.alike({**own, "precision (--set precision=float32 is everywhere)": half, **settings})


def _named(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested settings."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _named(value, f"{path}{name}.")
        else:
            yield path + name, value


def _code() -> str:
    """SHA-256 of this package's files."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
