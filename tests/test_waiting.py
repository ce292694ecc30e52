"""The host waits for a GPU now and then, not in every step; the meta device, without numbers, stands in for one."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from open_tunit.data import batches as batches_module
from open_tunit.data.batches import Batches
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.steps.descent import LOOK_EVERY
from open_tunit.training.steps.state import State, new_state
from open_tunit.training.steps.step import Step

COUNT, BATCH = 24, 4
DEVICE = torch.device("meta")


class Copies(TorchDispatchMode):
    """Notes copies between the host and the device that the host would wait for, or all of them."""

    def __init__(self, *, every: bool = False) -> None:
        super().__init__()
        self.every = every
        self.waited_for: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        parts = [part for part in tree_leaves((args, kwargs, found)) if isinstance(part, Tensor)]
        copies = "copy" in str(function)  # else a single number of the host goes along with the kernel
        devices = {part.device.type for part in parts if part.dim() or copies}
        if len(devices) > 1 and (self.every or not kwargs.get("non_blocking")):
            self.waited_for.append(str(function))
        return found


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast has no meta device."""
    monkeypatch.setattr(Step, "_autocast", lambda *_: contextlib.nullcontext())


def a_run(preset: str, supervision: Supervision) -> tuple[Plan, State, Batches]:
    config = Config.preset(preset, data="critters:5", out="unused", size=32)
    settings = {name: value for name, value in TINY.items() if name != "model.palette_dim" or preset != "paper"}
    config = config.replace(settings | {"training.steps": 10, "training.joint_start": 1, "training.batch": BATCH})
    plan = Plan.of(config, supervision)
    labels = {"none": [-1], "some": [-1, 0, 2], "all": [0, 1, 2]}[supervision]
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    batches = Batches(pixels, np.resize(labels, COUNT), np.arange(COUNT), seed=0, view=plan.views, device=DEVICE)
    state = new_state(plan, DEVICE)
    for name in "EGD":
        plain = torch.optim.SGD(getattr(state, name).parameters(), lr=0.1)  # fused Adam does not know the device
        setattr(state, f"opt_{name}", plain)
    return plan, state, batches


@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize(("supervision", "resident"), [("none", False), ("none", True), ("some", True), ("all", False)])
def test_no_step_waits_for_the_device(
    preset: str, supervision: Supervision, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "_has_room", lambda *_: resident)
    plan, state, batches = a_run(preset, supervision)
    state.step = 1
    phases = [plan.phase(index) for index in range(3)]
    assert [phase.train_generator for phase in phases] == [supervision == "all", True, True]
    with Copies() as copies:
        for phase in phases:
            Step(plan)(state, batches.batch(state.step, BATCH), phase)
    assert copies.waited_for == []
    assert state.step == 4


@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some", "all"])
def test_what_a_graph_captures_copies_nothing(preset: str, supervision: Supervision) -> None:
    plan, state, batches = a_run(preset, supervision)
    state.step = 1
    step, batch = Step(plan), batches.batch(1, BATCH)
    for phase in map(plan.phase, range(3)):
        step.prepare(state, phase)
        with Copies(every=True) as copies:
            step.compute(state, batch, phase)
        assert copies.waited_for == []


def test_copies_that_the_host_waits_for_are_noted() -> None:
    with Copies() as copies:
        torch.ones(3).to(DEVICE)
        torch.ones(3).to(DEVICE, non_blocking=True)
        torch.ones(()).to(DEVICE)
        torch.ones(3, device=DEVICE)[torch.tensor([0, 2])]
        torch._foreach_copy_([torch.ones(3, device=DEVICE)], [torch.ones(3)])
    assert [name.split(".")[1] for name in copies.waited_for] == ["_to_copy", "_to_copy", "index", "_foreach_copy_"]
    with Copies(every=True) as copies:
        torch.ones(3).to(DEVICE, non_blocking=True)
    assert len(copies.waited_for) == 1


@pytest.mark.parametrize(("step", "looks"), [(LOOK_EVERY - 1, False), (LOOK_EVERY, True), (LOOK_EVERY + 1, False)])
def test_losses_are_looked_at_now_and_then(step: int, looks: bool) -> None:
    plan, state, batches = a_run("paper", "none")
    state.step = step
    with pytest.raises(RuntimeError, match="meta tensors") if looks else contextlib.nullcontext():
        Step(plan)(state, batches.batch(step, BATCH), plan.phase(1))
