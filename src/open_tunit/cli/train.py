"""`tunit train`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from open_tunit.cli.usual_preset import shapes_of, usual_preset
from open_tunit.settings.config import Config, is_critters
from open_tunit.settings.recipes import RECIPES, RecipeName, without_effect
from open_tunit.terminal import leads


def train(
    data: str = "",
    out: str = "",
    preset: str | None = None,
    domains: int | Literal["auto"] | None = None,
    size: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    labels: str | None = None,
    init: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    on_nan: Literal["stop", "retry"] | None = None,
    config: Path | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Train on a folder of images; the same command again resumes the run.

    Args:
        data: Folder of images (any nesting), or critters:K for the built-in set.
        out: Folder for the run.
        preset: photos, photos-128, cpu, default or paper; unnamed: a resumed run's own; with --init
            photos or cpu, by its networks; else photos where its extra is installed, cpu otherwise and for critters.
        domains: Number of domains, K; auto estimates it from the images (up to 1.3 times the steps of E's own phase).
        size: Side of the images: 32, 64, 128, 256 or 512 px.
        minutes: Time budget; the number of steps is adjusted to the measured speed.
        steps: Length of the run in steps, in place of minutes.
        labels: folders, or a CSV file with columns file,label.
        init: Model folder to start from, a hub id, or a bundled one (critters, fruits).
        seed: Random seed (0).
        device: auto (the GPU if there is one), cpu, cuda, cuda:1, ...
        on_nan: stop (the default), or retry: go back to the last report, with other draws, three times at most.
        config: YAML file of settings, as a run's config.yaml.
        set: Any setting, such as training.batch=16; may be repeated.
        dry_run: Say how long it takes, with how much memory, and what would fit; train nothing.
    """
    if minutes is not None and steps is not None:
        raise ValueError("train takes --minutes or --steps, not both")
    given: dict[str, Any] = {"model.size": size, "data.labels": labels, "init": init, "seed": seed, "device": device}
    given |= {"on_nan": on_nan}
    if domains is not None:
        given |= {"auto_domains": domains == "auto", "model.domains": None if domains == "auto" else domains}
    chosen_settings = _assignments(set)
    overrides = shapes_of(init) | _not_none(given) | chosen_settings
    if config is not None:
        asked = _from_file(config, data, out, minutes, steps).replace(overrides)
    else:
        asked = _from_preset(preset or usual_preset(data, out, init), data, out, minutes, steps, overrides)
    from open_tunit.runs import stored_config

    if stored_config(Path(asked.out)) is None:
        _check_effect(asked.recipe, chosen_settings)
        if domains is None and config is None and "model.domains" not in chosen_settings:
            _tell_domains(asked)
    from open_tunit.device import keep_freed_memory

    keep_freed_memory()
    if dry_run:
        from open_tunit.training.session.preview import preview

        preview(asked)
        return
    from open_tunit.evaluation.translations import validate
    from open_tunit.training.loop import train as run

    chosen = any(value is not None for value in (preset, minutes, steps, config))
    run(asked, evaluator=validate, consent=None if chosen or not _is_terminal() else _yes)
    if leads():
        print(f"model: {asked.out}/model   samples: {asked.out}/samples")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _yes(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _from_preset(
    preset: str, data: str, out: str, minutes: float | None, steps: int | None, overrides: dict[str, Any]
) -> Config:
    if not data:
        raise ValueError("train needs --data FOLDER (images, any nesting) or --data critters:5")
    if not out:
        raise ValueError("train needs --out FOLDER for the run")
    return Config.preset(preset, data=data, out=out, minutes=minutes, steps=steps, overrides=overrides)


def _from_file(path: Path, data: str, out: str, minutes: float | None, steps: int | None) -> Config:
    """The file's settings; a budget given takes the place of the file's."""
    budget = {} if minutes is None and steps is None else {"minutes": minutes}
    given = {"data.folder": data or None, "out": out or None, "training.steps": steps}
    return Config.from_yaml(path.read_text(encoding="utf-8"), name=str(path)).replace(_not_none(given) | budget)


def _tell_domains(asked: Config) -> None:
    known = asked.auto_domains or asked.data.labels is not None or asked.init is not None
    if leads() and not known and not is_critters(asked.data.folder):
        ways = "--domains takes another" if asked.recipe == "paper" else "--domains takes another, or auto"
        print(f"{asked.model.domains} domains, as preset {asked.preset_name} has; {ways}")


def _check_effect(recipe: RecipeName, names: Iterable[str]) -> None:
    for name in without_effect(RECIPES[recipe]).intersection(names):
        raise ValueError(f"--set {name} has no effect in recipe {recipe}; leave it out")


def _not_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
