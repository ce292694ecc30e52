"""Whether a stored run is the one that is asked for, and what a longer budget makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_tunit.data.dataset import Dataset, same_images, same_labels
from open_tunit.files import read_json
from open_tunit.runs import DATA, INIT, DifferentRunError
from open_tunit.settings.config import Config
from open_tunit.settings.recipes import Recipe
from open_tunit.training.plan import Plan

BEFORE = {"geometry": "continuous"}
"""Fields of recipes that checkpoints of earlier versions lack, and what was done then."""
FITTED = {"model.domains", "training.batch", "training.guiding_batch", "training.queue"}
"""Settings that follow from the images: a difference in one of them alone is not reported as a setting."""


def check_same_run(stored: Config, asked: Config, dataset: Dataset, init: str | None) -> None:
    """Raise DifferentRunError, naming the first differing settings or the images, unless both are one run.

    Images, labels and `init`, the hash of the weights to start from, are compared with data.json, where they are known.
    """
    differences = _differences(stored.identity(), asked.identity())
    known = read_json(Path(asked.out) / DATA)
    if known and differences.keys() <= FITTED:
        _check_contents(known, asked, dataset, init)
    if differences:
        telling = {name: text for name, text in differences.items() if name not in FITTED} or differences
        shown = "; ".join(list(telling.values())[:3])
        raise DifferentRunError(f"{asked.out} holds a different run ({shown}); name another folder or delete it")


def _check_contents(known: Mapping[str, Any], asked: Config, dataset: Dataset, init: str | None) -> None:
    changed = None
    if not same_images(known, dataset):
        changed = f"the images of {asked.data.folder} changed"
    elif not same_labels(known, dataset):
        changed = f"the labels of {asked.data.folder} changed"
    elif init is not None and known.get(INIT, init) != init:
        changed = f"the model {asked.init} changed"
    if changed is not None:
        raise DifferentRunError(f"{changed} since {asked.out} was begun; name another folder for the run")


def check_same_recipe(stored: Mapping[str, Any] | None, asked: Recipe, folder: Path) -> None:
    """Raise DifferentRunError, naming the fields, unless a checkpoint's recipe is the one asked for.

    `stored` is None in checkpoints of format version 1, whose settings were compared instead.
    """
    known = dataclasses.asdict(asked)
    then = known if stored is None else {**BEFORE, **stored}
    differences = [name for name, value in then.items() if known.get(name) != value]
    if differences:
        raise DifferentRunError(f"{folder} was begun with another recipe ({', '.join(differences)} differ)")


def extended(stored: Plan, asked: Config) -> Config:
    """The stored run with the asked budget: more steps or minutes extend it, the joint phase stays where it began.

    Fewer minutes leave it fewer steps: the pair phase is counted anew at its reports.
    """
    steps, minutes = stored.steps, stored.config.minutes
    if asked.minutes is None:
        steps = asked.training.steps
    elif minutes is not None and asked.minutes > minutes:
        steps = round(steps * asked.minutes / minutes)
    elif minutes is not None:
        before = stored.adversarial_start
        steps = before + max(1, round((steps - before) * asked.minutes / minutes))
    budget = {"minutes": asked.minutes, "training.steps": steps}
    free = ("out", "init", "device", "precision", "report_every", "validate_every", "cache", "on_nan")
    places = {"data.folder": asked.data.folder, "data.labels": asked.data.labels}
    return stored.config.replace(budget | places | {name: getattr(asked, name) for name in free})


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name in stored:
        old, new = stored[name], asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found |= _differences(old, new, f"{path}{name}.")
        elif old != new:
            found[path + name] = f"{path}{name} is {old} there and {new} here"
    return found
