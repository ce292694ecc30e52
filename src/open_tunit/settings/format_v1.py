"""Reads what version 1 of the format wrote: its switches became recipes, and settings moved to their owners."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from open_tunit.settings.conversion import ConfigError
from open_tunit.settings.recipes import RECIPES

SWITCHES = {
    "training.domain_objective": "domain_objective",
    "training.domain_weight": "domain_weight",
    "training.style_weight": "early_style_weight",
    "training.shape_weight": "shape_weight",
    "training.supervised_label_weight": "supervised_label_weight",
    "training.pseudo_labels": "pseudo_labels",
    "training.contrast_in_batch": "contrast_in_batch",
    "training.translations_teach_guiding": "translations_train_guiding",
    "training.measure_statistics": "measure_statistics",
    "training.hold_domains": "freeze_domains",
    "training.average_warmup": "average_warmup",
    "training.mismatched": "mismatched_fakes",
    "model.normalize_contrast": "normalize_contrast",
    "model.plain_start": "plain_start",
    "data.views.content_colour": "content_colour",
    "data.views.translation": "translation_view",
    "data.views.outside": "outside",
}
"""Settings of version 1 that a recipe decides now."""
CONSTANTS = {
    "training.label_weight": 5.0,
    "training.shape_temperature": 0.2,
    "training.balance_queue": 1024,
    "training.sinkhorn_epsilon": 0.4,
    "training.guiding_weight_decay": 1e-3,
    "training.discriminator_learning_rate": None,
    "training.labelled_only_steps": 20_000,
    "training.semi_joint_start": 35_000,
}
"""Settings of version 1 that are constants now."""
MOVED = {"model.discriminator_width": "width", "model.discriminator_max_width": "max_width"}
"""To the section `discriminator`."""


def config_of_v1(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A run's settings of version 1 in today's form; `name` is how errors call the file.

    Raises ConfigError, naming a setting, where no recipe does what the run did.
    """
    rest = copy.deepcopy(dict(values))
    switches = {new: value for old, new in SWITCHES.items() if (value := _pop(rest, old)) is not None}
    for old, constant in CONSTANTS.items():
        value = _pop(rest, old)
        if value not in (None, constant):
            raise ConfigError(f"{name} is of an older version, and its {old}, {value}, cannot be set any more")
    discriminator = {new: value for old, new in MOVED.items() if (value := _pop(rest, old)) is not None}
    return {**rest, "recipe": _recipe(switches, name), "discriminator": discriminator}


def model_of_v1(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `model` section of version 1 without the settings that only training reads."""
    left = {name.removeprefix("model.") for name in (*SWITCHES, *MOVED) if name.startswith("model.")}
    if not isinstance(values, Mapping):
        raise ConfigError(f"model is {values!r}; expected a mapping of settings")
    return {name: value for name, value in values.items() if name not in left}


def _recipe(switches: Mapping[str, Any], name: str) -> str:
    unlike = {}
    for recipe in RECIPES.values():
        fields = dataclasses.asdict(recipe)
        wrong = [field for field, value in switches.items() if fields[field] != value]
        if not wrong:
            return recipe.name
        unlike[recipe.name] = wrong
    nearest = min(unlike, key=lambda recipe: len(unlike[recipe]))
    old = {new: old for old, new in SWITCHES.items()}
    raise ConfigError(
        f"{name} is of an older version and mixes methods: {', '.join(old[field] for field in unlike[nearest])} differ "
        f"from recipe {nearest}; its model still translates, but the run cannot go on"
    )


def _pop(values: dict[str, Any], dotted: str) -> Any:
    """The value of a dotted name, taken out; None where there is none."""
    *parents, last = dotted.split(".")
    place: Any = values
    for parent in parents:
        place = place.get(parent, {}) if isinstance(place, dict) else {}
    return place.pop(last, None) if isinstance(place, dict) else None
