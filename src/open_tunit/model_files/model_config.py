"""A model folder's config.json, which may come from a stranger: JSON of bounded size, each value within bounds."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ImageColor

from open_tunit.files import write_text_atomic
from open_tunit.model_files.naming import checked_labels
from open_tunit.settings.config import FORMAT_VERSION, Fit, Model, checked_version, model_from_dict
from open_tunit.settings.conversion import ConfigError, require
from open_tunit.settings.format_v1 import model_of_v1

LARGEST_FILE = 2**20
"""Bytes of config.json; ours have a few thousand."""
LONGEST_MESSAGE = 300
MOST = {
    "domains": 10_000, "trunk_side": 1024, "style_dim": 2048, "palette_dim": 2048, "guiding_width": 1024,
    "projection_dim": 4096, "generator_width": 1024, "generator_blocks": 64, "style_mlp_width": 8192,
}  # fmt: skip
"""Far beyond any use; sizes above it would only fill the memory."""
DISTILLED = ("steps", "images", "adain_r_squared", "domain_agreement", "translation_difference")
"""Numbers that a distilled model's `about` has."""
DEEPEST = 64
"""Convolutions in a stage of E."""


class ModelConfig(typing.NamedTuple):
    """The values of a model's config.json."""

    model: Model
    fit: Fit
    background: str
    about: dict[str, Any]
    """Of its training: step, seconds, data, ..."""
    labels: tuple[str, ...] = ()
    """Names of the domains where it was trained with labels."""


def read_model_config(path: Path) -> ModelConfig:
    """The values of a model folder's config.json. Raises ConfigError, in a line, where they are not a model's."""
    try:
        return _checked(_json(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}"[:LONGEST_MESSAGE]) from None


def write_model_config(path: Path, config: ModelConfig) -> None:
    """Write a model folder's config.json atomically."""
    values = {"format_version": FORMAT_VERSION, **config._asdict(), "model": dataclasses.asdict(config.model)}
    write_text_atomic(path, json.dumps(values, indent=1) + "\n")


def _json(path: Path) -> Mapping[str, Any]:
    with open(path, "rb") as file:
        text = file.read(LARGEST_FILE + 1)
    require(len(text) <= LARGEST_FILE, f"has more than {LARGEST_FILE:,} bytes")
    try:
        values = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not valid JSON: {' '.join(str(error).split())}") from error
    require(isinstance(values, dict), f"holds {type(values).__name__}, expected an object of settings")
    return typing.cast(Mapping[str, Any], values)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _checked(values: Mapping[str, Any]) -> ModelConfig:
    version, given = checked_version(values, "it")
    missing = [name for name in ("model", "fit", "background") if name not in given]
    require(not missing, f"lacks {', '.join(missing)}")
    try:
        model = model_from_dict(model_of_v1(given["model"]) if version == 1 else given["model"])
    except ConfigError as error:
        raise ConfigError(f"it is not of this version of open-tunit: {error}") from None
    for name, most in MOST.items():
        value = getattr(model, name, 0)
        require(value <= most, f"model.{name} is {value}; expected at most {most}")
    require(max(model.guiding_depths) <= DEEPEST, f"model.guiding_depths has more than {DEEPEST} in a stage")
    fits = typing.get_args(Fit)
    require(given["fit"] in fits, f"fit is {given['fit']!r}; expected one of {', '.join(fits)}")
    require(_is_colour(given["background"]), f"background is {given['background']!r}; expected such as #ffffff")
    about = given.get("about", {})
    require(isinstance(about, dict), f"about is {type(about).__name__}, expected an object")
    _check_about(about)
    labels = checked_labels(given.get("labels", []), model.domains)
    return ModelConfig(model, given["fit"], given["background"], about, labels)


def _is_colour(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ImageColor.getrgb(value))
    except ValueError:
        return False


def _check_about(about: Mapping[str, Any]) -> None:
    """What cards, reports and the page take as numbers and names."""
    for name, kinds in (("step", int), ("seed", int), ("seconds", (int, float)), ("preset", str), ("device", str)):
        require(isinstance(about.get(name), (type(None), kinds)), f"about.{name} is {about.get(name)!r}")
    data = about.get("data", {})
    require(isinstance(data, dict), f"about.data is {type(data).__name__}, expected an object")
    for name, kind in (("name", str), ("train", int), ("val", int), ("test", int), ("fingerprint", str)):
        require(isinstance(data.get(name), (type(None), kind)), f"about.data.{name} is {data.get(name)!r}")
    lost = about.get("distilled", dict.fromkeys(DISTILLED, 0) | {"from": "", "part": ""})
    numbers = isinstance(lost, dict) and all(isinstance(lost.get(name), (int, float)) for name in DISTILLED)
    require(numbers and {"from", "part"} <= lost.keys(), f"about.distilled is {lost!r}")
