"""A GPU computes what the CPU does, waits for nothing, and trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_run import TINY
from torch import nn
from untrained import untrained

from open_tunit import Config, train
from open_tunit.data.batches import Batches
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.state import NETWORKS, State, new_state
from open_tunit.training.step import Step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature"),
]
COUNT, BATCH, STEPS = 24, 4, 4
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def tiny(preset: str, supervision: Supervision = "none", **settings: object) -> Plan:
    values = {name: value for name, value in TINY.items() if name != "model.palette_dim" or preset != "paper"}
    values |= {"training.steps": STEPS, "training.joint_start": 1, "training.batch": BATCH, **settings}
    config = Config.preset(preset, data="critters:3", out="unused", size=32).replace(values | {"device": str(GPU)})
    return Plan.of(config, supervision)


def batches(plan: Plan, device: torch.device, dtype: torch.dtype) -> Batches:
    labels = {"none": [-1], "some": [-1, 0, 2], "all": [0, 1, 2]}[plan.supervision]
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    labelled = np.resize(labels, COUNT)
    return Batches(pixels, labelled, np.arange(COUNT), seed=0, view=plan.views, device=device, dtype=dtype)


def trained(plan: Plan, device: torch.device) -> State:
    """After a step of E alone and three of all networks, in float64."""
    state, source = new_state(plan, device, torch.float64), batches(plan, device, torch.float64)
    for index in range(STEPS):
        Step(plan)(state, source.batch(index, BATCH), plan.phase(index))
    return state


def numbers(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten().double().cpu() for value in network.state_dict().values()])


@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some"])
def test_steps_are_the_cpus(preset: str, supervision: Supervision) -> None:
    plan = tiny(preset, supervision)
    here, there = (trained(plan, device) for device in (CPU, GPU))
    for name in NETWORKS:
        torch.testing.assert_close(numbers(getattr(there, name)), numbers(getattr(here, name)), rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some", "all"])
def test_no_step_waits(preset: str, supervision: Supervision) -> None:
    plan = tiny(preset, supervision)
    state, source = new_state(plan, GPU), batches(plan, GPU, torch.float32)
    step = Step(plan, half=True)
    for round_ in range(2):  # the first fills caches and the optimisers' state
        torch.cuda.set_sync_debug_mode("error" if round_ else "default")
        for index in range(1, 3):
            step(state, source.batch(state.step, BATCH), plan.phase(index))
            state.step = max(state.step, 1)


def test_translations_are_the_cpus() -> None:
    model = untrained().double()
    random = np.random.default_rng(0).uniform(-1, 1, (5, 3, model.config.size, model.config.size))
    pictures = torch.from_numpy(random)
    here = model.grid(pictures[:2], pictures[2:])
    there = model.to(GPU).grid(pictures[:2], pictures[2:]).cpu()
    torch.testing.assert_close(there, here, rtol=0, atol=1e-8)


def test_a_run_trains_and_goes_on(picture_folder: Path, tmp_path: Path) -> None:
    for steps in (STEPS, STEPS + 2):
        config = tiny("cpu", **{"training.steps": steps, "training.joint_start": 2}).config
        config = config.replace({"data.folder": str(picture_folder), "out": str(tmp_path / "run"), "report_every": 2})
        model = train(config)
    assert model.about["step"] == STEPS + 2
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
