"""`tunit train`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from open_tunit.model_files.places import CONFIG, model_folder
from open_tunit.terminal import leads


def train(
    data: str = "",
    out: str = "",
    preset: str = "default",
    domains: int | Literal["auto"] | None = None,
    size: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    labels: str | None = None,
    init: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    config: Path | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Train on a folder of images; the same command again resumes the run.

    Args:
        data: Folder of images (any nesting), or critters:K for the built-in set.
        out: Folder for the run.
        preset: default (one GPU), cpu (minutes on a laptop) or paper (as published).
        domains: Number of domains, K; auto estimates it from the images (up to 1.3 times the steps of E's own phase).
        size: Side of the images in pixels: 32, 64, 128, 256 or 512.
        minutes: Time budget; the number of steps is adjusted to the measured speed.
        steps: Length of the run in steps, in place of minutes.
        labels: folders, or a CSV file with columns file,label.
        init: Model folder to start from, a hub id, or critters (bundled checkpoint).
        seed: Random seed (0).
        device: auto (the GPU if there is one), cpu, cuda, cuda:1, ...
        config: YAML file of settings, as a run's config.yaml.
        set: Any setting, such as training.batch=16; may be repeated.
    """
    if not data and config is None:
        raise ValueError("train needs --data FOLDER (images, any nesting) or --data critters:5")
    if not out and config is None:
        raise ValueError("train needs --out FOLDER for the run")
    if minutes is not None and steps is not None:
        raise ValueError("train takes --minutes or --steps, not both")
    from open_tunit.settings.config import Config

    given: dict[str, Any] = {"model.size": size, "data.labels": labels}
    if domains is not None:
        given |= {"auto_domains": domains == "auto", "model.domains": None if domains == "auto" else domains}
    given = {name: value for name, value in given.items() if value is not None}
    overrides = _init_shapes(init) | given | _assignments(set)
    if config is not None:
        fields = {"data.folder": data or None, "out": out or None, "init": init, "seed": seed, "device": device}
        budget = {"minutes": minutes, "training.steps": steps}
        asked = _from_file(config, fields, budget, overrides)
    else:
        asked = Config.preset(
            preset,
            data=data,
            out=out,
            domains=domains,
            size=size,
            steps=steps,
            seed=seed or 0,
            minutes=minutes,
            init=init,
            device=device or "auto",
            overrides=overrides,
        )
    from open_tunit.device import keep_freed_memory
    from open_tunit.evaluation.translations import validate
    from open_tunit.training.loop import train as run

    keep_freed_memory()
    run(asked, evaluator=validate)
    if leads():
        print(f"model: {asked.out}/model   samples: {asked.out}/samples")


def _from_file(path: Path, given: dict[str, Any], budget: dict[str, Any], overrides: dict[str, Any]) -> Any:
    from open_tunit.settings.config import Config

    text = path.read_text(encoding="utf-8")
    known = {name: value for name, value in given.items() if value is not None}
    if any(value is not None for value in budget.values()):
        known |= {name: value for name, value in budget.items() if value is not None or name == "minutes"}
    return Config.from_yaml(text, name=str(path)).replace(known | overrides)


def _assignments(words: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--set {word!r} is no assignment; expected NAME=VALUE, as in training.batch=16")
        try:
            pairs[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {word!r} holds no value that YAML reads") from error
    return pairs


def _init_shapes(init: str | None) -> dict[str, Any]:
    """Fine-tuning keeps the shapes of the networks it starts from."""
    if init is None:
        return {}
    from open_tunit.model_files.model_config import read_model_config

    shapes = dataclasses.asdict(read_model_config(model_folder(init) / CONFIG).model)
    return {f"model.{name}": value for name, value in shapes.items() if name != "projection_dim"}
