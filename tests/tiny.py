"""Runs at the smallest widths, and models that translate in a known way."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from rich.console import Console
from torch import Tensor
from untrained import untrained

from open_tunit import TUNIT, Config, train

TINY: dict[str, Any] = {
    "model.style_dim": 8,
    "model.palette_dim": 3,
    "model.guiding_width": 4,
    "model.guiding_depths": [1, 1, 1, 1, 1],
    "model.projection_dim": 8,
    "model.generator_width": 4,
    "model.generator_blocks": 1,
    "model.style_mlp_width": 16,
    "discriminator.width": 4,
    "discriminator.max_width": 8,
    "training.batch": 4,
    "training.guiding_batch": 8,
    "training.prototypes_start": 0.5,
    "training.pair_steps": 0,
}
TRAINED = 21
"""Images of `picture_folder` that the split gives to training; a function of their contents."""
Begin = Callable[..., Config]


def train_tiny(data: Path, out: Path, **fields: Any) -> Path:
    """A run of few steps through both phases in `out`; `fields` are the `preset`'s (cpu), and `evaluator` train's."""
    shapes: dict[str, Any] = {
        "model.style_dim": 8, "model.palette_dim": 3,
        "model.guiding_width": 4, "model.guiding_depths": [1, 1, 1, 1, 1],
        "model.generator_width": 4, "model.generator_blocks": 1, "model.style_mlp_width": 16,
        "model.projection_dim": 8, "discriminator.width": 4, "discriminator.max_width": 8,
        "training.batch": 4, "training.guiding_batch": 8, "training.joint_start": 1,
        "training.pair_steps": 0,
    }  # fmt: skip
    steps = fields.pop("steps", 2)
    evaluator, preset = fields.pop("evaluator", None), fields.pop("preset", "cpu")
    shapes |= fields.pop("overrides", {})
    fields = {"report_every": 1} | fields
    config = Config.preset(preset, data=str(data), out=str(out), domains=2, steps=steps, overrides=shapes, **fields)
    train(config, evaluator=evaluator)
    return out


def trained(config: Config, **given: Any) -> tuple[TUNIT, str]:
    """The model, and what was printed."""
    said = io.StringIO()
    return train(config, console=Console(file=said, width=200), **given), said.getvalue()


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much at each look, and stands still between."""
    return itertools.count(step=seconds).__next__


def lines_of(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.out) / "log.jsonl").read_text().splitlines()]


def stored_settings(config: Config) -> dict[str, Any]:
    values = yaml.safe_load((Path(config.out) / "config.yaml").read_text())
    assert isinstance(values, dict)
    return values


def checkpoints_of(config: Config) -> list[str]:
    return sorted(path.name for path in (Path(config.out) / "checkpoints").iterdir())


def digests_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "tensorboard"
    }


def into_class_folders(folder: Path) -> None:
    """Move the pictures of a `picture_folder`: disc_00.png to disc/disc_00.png, and so on."""
    for path in sorted(folder.iterdir()):
        kind = path.name.split("_")[0]
        (folder / kind).mkdir(exist_ok=True)
        path.rename(folder / kind / path.name)


@torch.no_grad()
def halve(model: TUNIT, x: Tensor) -> None:
    """Give a model of two domains a domain head that puts half of the images (N, 3, S, S) into each."""
    features, _ = model.E.features(x)
    direction = features[0] - features[1]
    middle = (features @ direction).median()
    model.E.domain_head.weight.copy_(torch.stack([direction, -direction]))
    model.E.domain_head.bias.copy_(torch.stack([-middle, middle]))


class Copier(TUNIT):
    """Redraws every source as the one of the `shown` pictures (N, 3, S, S) whose style code is asked for."""

    shown: Tensor

    def redraw(self, source: Any, styles: Tensor, *, strength: float = 1.0) -> Tensor:
        return self.shown[torch.cdist(styles, self.style(self.shown)).argmin(dim=1)]


class Keeper(TUNIT):
    """Leaves every source as it is."""

    def redraw(self, source: Any, styles: Tensor, *, strength: float = 1.0) -> Tensor:
        return cast(Tensor, source.expand(max(len(source), len(styles)), -1, -1, -1))


def copier(shown: Tensor) -> Copier:
    model = untrained(kind=Copier)
    model.shown = shown
    return model


def keeper() -> Keeper:
    return untrained(kind=Keeper)
