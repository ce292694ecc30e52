"""Runs at the smallest widths, and models that translate in a known way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from untrained import untrained

from open_tunit import TUNIT, Config, train


def train_tiny(data: Path, out: Path, **fields: Any) -> Path:
    """A run of few steps through both phases in `out`; `fields` are the `preset`'s (cpu), and `evaluator` train's."""
    shapes: dict[str, Any] = {
        "model.style_dim": 8, "model.palette_dim": 3,
        "model.guiding_width": 4, "model.generator_width": 4, "model.style_mlp_width": 16,
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
