"""Our step against benchmarks/reference_step.py, the published one written plainly."""

from __future__ import annotations

import dataclasses
import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.settings.config import Config
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.state import Queue, State, new_state
from open_tunit.training.steps.step import Step

JOINT = Phase(name="joint", train_guiding=True, train_generator=True, guiding_weight=0.1, guiding_learning_rate=1e-4)
STEPS = 5
PLAN = Plan.of(
    Config.preset("paper", data="unused", out="unused", size=32, domains=4).replace(
        {"model.guiding_width": 4, "model.generator_width": 6, "discriminator.width": 6, "model.style_dim": 8}
    )
)


@pytest.fixture(scope="module")
def reference_step() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "reference_step.py"
    spec = importlib.util.spec_from_file_location("reference_step", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_step"] = module
    spec.loader.exec_module(module)
    return module


def shaken_state(plan: Plan = PLAN) -> State:
    """Float64 networks in which no parameter is zero, and D's hinge is on both of its sides."""
    state = new_state(plan, torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for network in (state.E, state.G, state.D):
            for parameter in network.parameters():
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        state.E_ema.load_state_dict(state.E.state_dict())
        state.G_ema.load_state_dict(state.G.state_dict())
    state.keys = Queue(1024, torch.randn(12, 8, generator=generator, dtype=torch.float64))
    return state


def batch_of(seed: int, dtype: torch.dtype, size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(100 + seed)
    x, x_plus = (torch.rand(4, 3, size, size, generator=generator, dtype=torch.float64).to(dtype) * 2 - 1 for _ in "ab")
    return Batch(
        x=x,
        x_plus=x_plus,
        x_domain=x_plus,
        x_content=x,
        translation_numbers=views.Numbers(None, torch.empty(0, 4)),
        labels=torch.full((4,), -1),
        unlabelled=torch.arange(4),
        permutation=torch.randperm(4, generator=generator),
    )


def converted(state: State, dtype: torch.dtype) -> State:
    fresh = new_state(PLAN, torch.device("cpu"), dtype)
    for name in ("E", "E_ema", "G", "G_ema", "D"):
        getattr(fresh, name).load_state_dict(getattr(state, name).state_dict())
    fresh.keys = Queue(1024, state.keys.rows.to(dtype))
    return fresh


@pytest.mark.parametrize(
    ("size", "steps", "supervised"),
    [(32, STEPS, False), (64, 2, False), (128, 1, False), (32, STEPS, True)],
)
def test_steps_equal_the_published_ones(reference_step: ModuleType, size: int, steps: int, supervised: bool) -> None:
    plan = dataclasses.replace(PLAN.replace({"model.size": size}), supervision="all" if supervised else "none")
    state = shaken_state(plan)
    published = reference_step.Reference(state.E, state.G, state.D, plan.config.model, state.keys.rows.clone())
    labels = torch.tensor([2, 0, 3, 2]) if supervised else None
    for seed in range(steps):
        batch = batch_of(seed, torch.float64, size)
        if labels is not None:
            batch = dataclasses.replace(batch, labels=labels)
        ours = Step(plan)(state, batch, JOINT)
        theirs = published.step(batch.x, batch.x_plus, batch.permutation, labels)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    torch.testing.assert_close(state.keys.rows, published.keys, rtol=1e-9, atol=1e-9)
    for name in ("E", "E_ema", "G", "G_ema", "D"):
        for parameter, (key, value) in zip(
            getattr(state, name).parameters(), getattr(published, name).named.items(), strict=True
        ):
            torch.testing.assert_close(parameter, value, rtol=1e-9, atol=1e-9, msg=f"{name} {key}")


class Kept(torch.optim.Optimizer):
    """Keeps the gradients of its first step and changes nothing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network.parameters(), {"lr": 0.0})
        self.first: list[Tensor] = []

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        if not self.first:
            self.first = [p.grad.double().flatten().clone() for group in self.param_groups for p in group["params"]]


def first_gradients(holder: object, run: object) -> dict[str, Tensor]:
    """Each network's first gradient: E's of its own loss, D's, G's."""
    assert callable(run)
    kept = {name: Kept(getattr(holder, name)) for name in ("E", "D", "G")}
    for name, optimiser in kept.items():
        setattr(holder, f"opt_{name}", optimiser)
    run()
    return {name: torch.cat(optimiser.first) for name, optimiser in kept.items()}


def test_rounding_is_at_most_twice_the_published_steps(reference_step: ModuleType) -> None:
    """Of five batches, by the median: on single ones a ReLU or a pool may choose another way in either step."""
    ratios: dict[str, list[float]] = {name: [] for name in ("E", "D", "G")}
    for seed in range(STEPS):
        state = shaken_state()

        def published(dtype: torch.dtype, state: State = state, seed: int = seed) -> dict[str, Tensor]:
            values = converted(state, dtype)
            reference = reference_step.Reference(values.E, values.G, values.D, PLAN.config.model, values.keys.rows)
            batch = batch_of(seed, dtype)
            return first_gradients(reference, lambda: reference.step(batch.x, batch.x_plus, batch.permutation))

        exact, single = published(torch.float64), published(torch.float32)
        values = converted(state, torch.float32)
        batch = batch_of(seed, torch.float32)
        ours = first_gradients(values, lambda: Step(PLAN)(values, batch, JOINT))  # noqa: B023
        for name, gradient in exact.items():
            ratios[name].append(float((ours[name] - gradient).norm() / (single[name] - gradient).norm()))
    for name, found in ratios.items():
        assert statistics.median(found) <= 2, name
