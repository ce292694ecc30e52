"""Small runs for the tests of training: plans, states, batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from open_tunit.data import views
from open_tunit.data.batches import Batch, Batches
from open_tunit.data.views import Views
from open_tunit.settings.config import Config
from open_tunit.settings.recipes import RECIPES
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.steps.state import State, new_state

DOMAINS, COUNT = 3, 4
TINY = {
    "model.style_dim": 6, "model.palette_dim": 0, "model.guiding_width": 4, "model.guiding_depths": [1, 1, 1, 1, 1],
    "model.generator_width": 4, "model.generator_blocks": 1, "model.style_mlp_width": 8,
    "discriminator.width": 4, "discriminator.max_width": 8, "training.joint_start": 0,
    "training.batch": COUNT,
}  # fmt: skip
CPU = torch.device("cpu")


def tiny(preset: str = "paper", supervision: Supervision = "none", **changes: Any) -> Plan:
    """The plan of a paper run that is joint from its first step; changes with __ for the dot, of the recipe too."""
    parts: dict[str, dict[str, Any]] = {"recipe": {}, "config": {}}
    for name, value in changes.items():
        section, _, field = name.partition("__")
        part, key = ("recipe", field) if section == "recipe" else ("config", name.replace("__", "."))
        parts[part][key] = value
    overrides = TINY | ({} if preset == "paper" else {"model.projection_dim": 6}) | parts["config"]
    config = Config.preset(preset, data="photos", out="run", size=32, domains=DOMAINS, overrides=overrides)
    return Plan.of(config, supervision, dataclasses.replace(RECIPES[config.recipe], **parts["recipe"]))


def fresh(plan: Plan) -> State:
    """A state in float64, with heads large enough to matter."""
    state = new_state(plan, CPU, torch.float64)
    with torch.no_grad():
        for E in (state.E, state.E_ema):
            E.domain_head.weight.mul_(100)
            E.style_head.weight.mul_(100)
    return state


def places_without_label(labels: list[int]) -> Tensor:
    return torch.tensor([place for place, label in enumerate(labels) if label < 0], dtype=torch.int64)


def a_batch(labels: list[int] | None = None, seed: int = 0) -> Batch:
    x, x_plus = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, COUNT, 3, 32, 32)))
    return Batch(
        x=x,
        x_plus=x_plus,
        x_domain=x_plus,
        x_content=x,
        translation_numbers=views.numbers(x, views.draw(np.random.default_rng(0), len(x)), Views()),
        labels=torch.tensor(labels or [-1] * COUNT),
        unlabelled=places_without_label(labels or [-1] * COUNT),
        permutation=torch.tensor([2, 0, 3, 1]),
    )


def parameters(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(network: nn.Module, before: list[Tensor]) -> bool:
    return all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))


def patterned(count: int) -> tuple[Batches, np.ndarray]:
    """Noisy pictures of as many patterns as there are domains, and the pattern of each."""
    random = np.random.default_rng(0)
    kinds = np.arange(count) % DOMAINS
    row, column = np.mgrid[:32, :32]
    patterns = np.stack([(row + column) % 4 < 2, (row // 8 + column // 8) % 2 < 1, row < 32])  # fine, coarse, plain
    pixels = (random.integers(0, 40, (count, 32, 32, 3)) + 200 * patterns[kinds][..., None]).astype(np.uint8)
    unknown, everything = np.full(count, -1), np.arange(count)
    return Batches(pixels, unknown, everything, seed=0, view=Views(), device=CPU, dtype=torch.float64), kinds


def noisy_batches(count: int, dtype: torch.dtype = torch.float64) -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    indices = np.arange(count)
    return Batches(pixels, np.full(count, -1), indices, seed=0, view=Views(), device=CPU, dtype=dtype)
