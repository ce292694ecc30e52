"""Steps of every recipe, phase and degree of supervision, which one process takes or several."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import torch
from small_runs import CPU, DOMAINS, tiny
from torch import Tensor

from open_tunit.data.batches import Batches, ImageCodes
from open_tunit.data.pairs import PairTable
from open_tunit.networks.backbone import Backbone
from open_tunit.settings.config import Config
from open_tunit.training.distributed.group import Group
from open_tunit.training.fitting.transitions import settle_statistics
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.steps import state as states
from open_tunit.training.steps.methods import batch_of, make_step
from open_tunit.training.steps.state import NETWORKS, State, new_state

IMAGES, JOINT_STEPS, QUEUE = 30, 5, 10
STILL = {"data__views__affine": False}
"""The paper's black corners hold equal neighbours; which one a max pool gives its gradient to is up to the rounding."""
LABELS: dict[Supervision, list[int]] = {"none": [-1], "some": [-1, 0, -1, 2, -1], "all": [0, 1, 2]}


@dataclasses.dataclass(frozen=True)
class Case:
    """A run to take the first steps of."""

    preset: str
    supervision: Supervision = "none"
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return " ".join([self.preset, self.supervision, *(f"{name}={value}" for name, value in self.changes)])


PATCHED = (
    ("training__pair_weight", 0.0),
    ("training__optimizer", "rmsprop"),
    ("training__learning_rate", 1e-7),
)
"""Patches and the cycle in place of pairs. Small steps, for those of biases that G's norms cancel are rounding."""
CASES = [
    Case("paper"),
    Case("paper", "some", (("training__batch", 5),)),
    Case("paper", "all", (("training__schedule", "separate"),)),
    Case("cpu"),
    Case("cpu", "some", (("training__guiding_batch", 7),)),
    Case("cpu", "all", PATCHED),
    Case("photos"),  # whose steps read domains, be they labels or E's
]


def plan_of(case: Case) -> Plan:
    """E alone for two steps, pairs for two, and then all, with R1 at every other step where it is lazy."""
    if case.preset == "photos":
        overrides = {"model.generator_width": 4, "model.style_mlp_width": 16, "discriminator.width": 8}
        overrides |= {"training.batch": 2, "training.pair_steps": 1, "training.pair_weight": 5.0}
        overrides |= {"training.cycle_weight": 5.0}
        config = Config.preset(
            "photos", data="photos", out="run", size=32, domains=DOMAINS, steps=20, overrides=overrides
        )
        return Plan.of(config, case.supervision)
    own = {"training__joint_start": 2, "training__pair_steps": 2, "training__r1_every": 2}
    settings = (own if case.preset == "cpu" else {}) | {"training__queue": QUEUE, "training__steps": 20} | STILL
    return tiny(case.preset, case.supervision, **settings | dict(case.changes))


def beginning(case: Case, group: Group, dtype: torch.dtype) -> tuple[Plan, State, Batches]:
    plan = plan_of(case)
    states.load_backbone = _random_trunk  # the weights' package is not needed
    state = new_state(plan, CPU, torch.float64)
    with torch.no_grad():
        for E in (state.E, state.E_ema):
            E.domain_head.weight.mul_(100)
            E.style_head.weight.mul_(100)
    begun = new_state(plan, CPU, dtype)
    for name in NETWORKS:
        getattr(begun, name).load_state_dict(getattr(state, name).state_dict())
    random, side = np.random.default_rng(0), plan.config.model.size
    pixels = random.integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
    labels = np.resize(LABELS[case.supervision], IMAGES)
    every = np.arange(IMAGES)
    batches = Batches(pixels, labels, every, seed=0, view=plan.views, device=CPU, dtype=dtype, rows=group.rows)
    if plan.recipe.pretrained:
        styles = torch.from_numpy(random.standard_normal((IMAGES, plan.config.model.style_dim))).to(dtype)
        batches.codes = ImageCodes.of(every, styles, np.arange(IMAGES) % DOMAINS)
    if plan.pairs:
        batches.pairs = PairTable.random(every, DOMAINS)
    return plan, begun, batches


def take_step(plan: Plan, state: State, batches: Batches, group: Group) -> dict[str, float]:
    phase = plan.phase(state.step)
    batch = batch_of(batches, phase, state.step, plan.batch_size(phase))
    terms = make_step(plan, False, group)(state, batch, phase)
    return {name: float(value) for name, value in terms.items()}


def taken(group: Group, case: Case) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """The terms of each step up to the fifth joint one, and the state after it, all in float64."""
    plan, state, batches = beginning(case, group, torch.float64)
    _hold_biases(state.E)
    terms = []
    for step in range(plan.adversarial_start + JOINT_STEPS):
        if step == plan.joint_start > 0:
            settle_statistics(state, batches, seed=0)
        terms.append(take_step(plan, state, batches, group))
    return terms, state.state_dict()


def _hold_biases(E: torch.nn.Module) -> None:
    """Make 0 of the gradients of biases before a batch norm: they are rounding, of which Adam makes steps."""
    for convolution, norm in itertools.pairwise(E.modules()):
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert isinstance(convolution, torch.nn.Conv2d)
            assert convolution.bias is not None
            convolution.bias.register_hook(torch.zeros_like)


def first_gradients(group: Group, case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a first joint step adds to E, G and D by plain SGD of rate 1: their gradients, E's at two points."""
    plan, state, batches = beginning(case, group, dtype)
    state.step = plan.adversarial_start
    for name in "EGD":
        plain = torch.optim.SGD(getattr(state, name).parameters(), lr=RATE)
        setattr(state, f"opt_{name}", plain)
    before = {name: _numbers(getattr(state, name)) for name in "EGD"}
    plan = plan.replace({"training.guiding_learning_rate": RATE, "training.learning_rate": RATE})
    take_step(plan, state, batches, group)
    return {name: (_numbers(getattr(state, name)) - before[name]) / RATE for name in "EGD"}


RATE = 2.0**-10
"""A power of two, by which float32 divides without rounding."""


def all_of(group: Group, cases: list[Case]) -> dict[str, Any]:
    found: dict[str, Any] = {case.name: taken(group, case) for case in cases}
    return found | {f"{case.name} float32": first_gradients(group, case, torch.float32) for case in cases}


def _numbers(network: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().double() for p in network.parameters()] or [torch.zeros(0)])


def _random_trunk() -> Backbone:
    generator, trunk = torch.Generator().manual_seed(0), Backbone()
    for name, value in trunk.named_buffers():
        if name.endswith("weight"):
            value.copy_(torch.randn(value.shape, generator=generator) * math.sqrt(2 / value[0].numel()))
    return trunk
