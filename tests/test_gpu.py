"""A GPU computes what the CPU does, waits for nothing, replays what it captured, and trains."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY
from torch import Tensor, nn
from untrained import untrained

from open_tunit import Config, train
from open_tunit.data.batches import Batch, Batches
from open_tunit.data.views import Numbers
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.steps.graphs import CudaRecorder, Steps
from open_tunit.training.steps.muon import orthogonalised
from open_tunit.training.steps.state import NETWORKS, State, new_state
from open_tunit.training.steps.step import Step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature"),
]
COUNT, BATCH, STEPS, QUEUE = 24, 4, 4, 6
RATE = 2.0**-10
"""The same number in float32, in which a GPU's optimisers read a rate that is a tensor."""
STILL = {"data.views.affine": False}
RATES = {"training.guiding_learning_rate": RATE, "training.joint_guiding_learning_rate": RATE}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_muon_computes_in_true_float32_whatever_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    matrices = torch.randn(1, 128, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(1, 2, 1152)
    exact = orthogonalised(matrices.double())
    assert (orthogonalised(matrices.to(GPU)).cpu().double() - exact).norm() < 5e-3 * exact.norm()


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def tiny(preset: str, supervision: Supervision = "none", **settings: object) -> Plan:
    values = {name: value for name, value in TINY.items() if name != "model.palette_dim" or preset != "paper"}
    values |= {
        "training.pair_weight": 0.0,
        "training.steps": STEPS,
        "training.joint_start": 1,
        "training.batch": BATCH,
        **settings,
    }
    config = Config.preset(preset, data="critters:3", out="unused", size=32).replace(values | {"device": str(GPU)})
    return Plan.of(config, supervision)


def batches(plan: Plan, device: torch.device, dtype: torch.dtype) -> Batches:
    labels = {"none": [-1], "some": [-1, 0, -1, 2], "all": [0, 1, 2]}[plan.supervision]
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    labelled = np.resize(labels, COUNT)
    return Batches(pixels, labelled, np.arange(COUNT), seed=0, view=plan.views, device=device, dtype=dtype)


def moved(batch: Batch, device: torch.device) -> Batch:
    parts = {name: part.to(device) for name, part in vars(batch).items() if isinstance(part, Tensor)}
    geometry, colours = batch.translation_numbers
    numbers = Numbers(None if geometry is None else geometry.to(device), colours.to(device))
    return dataclasses.replace(batch, **parts, translation_numbers=numbers)


def descending(plan: Plan, device: torch.device, dtype: torch.dtype = torch.float64) -> State:
    """A new state whose optimisers are plain SGD.

    Adam and RMSprop divide by the size of the gradient: one that is 0 but for rounding, such as a bias's before a batch
    norm, moves its weight as far as any other. And heads large enough that pseudo labels are no ties.
    """
    state = new_state(plan, CPU, dtype)
    with torch.no_grad():
        for E in (state.E, state.E_ema):
            E.domain_head.weight.mul_(100)
            E.style_head.weight.mul_(100)
    for name in NETWORKS:
        getattr(state, name).to(device)
    for rows in (state.keys, state.logits):
        rows.rows = rows.rows.to(device)
    for name in "EGD":
        plain = torch.optim.SGD(getattr(state, name).parameters(), lr=RATE, fused=True)
        setattr(state, f"opt_{name}", plain)
    return state


def numbers(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().double().cpu() for value in network.state_dict().values()])


Told = list[tuple[dict[str, Tensor], dict[str, Tensor]]]
Take = Callable[[Step, State, Batch, Any], dict[str, Tensor]]


def followed(take: Take, plan: Plan, state: State, source: Batches, steps: int, *, half: bool = False) -> Told:
    """After each step its terms and the networks' numbers, all on the CPU."""
    device, told = state.keys.rows.device, []
    for index in range(state.step, steps):
        phase = plan.phase(index)
        batch = moved(source.batch(index % 2, BATCH, labelled_only=phase.labelled_only), device)  # labels of two kinds
        terms = take(Step(plan, half), state, batch, phase)
        told.append(
            (
                {name: value.double().cpu() for name, value in terms.items()},
                {name: numbers(getattr(state, name)) for name in NETWORKS},
            )
        )
    return told


def plainly(step: Step, state: State, batch: Batch, phase: Any) -> dict[str, Tensor]:
    return step(state, batch, phase)


def assert_close(found: Told, expected: Told, tolerance: float) -> None:
    """The first term or network that differs fails, by name and step."""
    for index, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        for part, words in ((0, "term"), (1, "weights of")):
            assert mine[part].keys() == theirs[part].keys()
            for name, value in theirs[part].items():
                told = f"{words} {name}, step {index}"
                torch.testing.assert_close(
                    mine[part][name],
                    value,
                    rtol=tolerance,
                    atol=tolerance,
                    msg=lambda text, told=told: f"{told}: {text}",
                )


@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some", "all"])
def test_steps_are_the_cpus(preset: str, supervision: Supervision) -> None:
    """On the same batches: a GPU divides bytes by 127.5 in float32 with another rounding, which E's ReLUs would show.

    Without the affine view: in the paper's black corners neighbours are equal, and which one a max pool hands its
    gradient to is up to the rounding.
    """
    plan = tiny(preset, supervision, **STILL, **RATES)
    source = batches(plan, CPU, torch.float64)
    here, there = (followed(plainly, plan, descending(plan, device), source, STEPS) for device in (CPU, GPU))
    assert_close(there, here, 1e-9)


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_batches_are_the_cpus(preset: str) -> None:
    plan = tiny(preset)
    here, there = (batches(plan, device, torch.float64).batch(3, BATCH) for device in (CPU, GPU))
    for name in ("x", "x_plus", "x_domain", "x_content"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=0, atol=1e-5)


@pytest.fixture
def _short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full after two steps, so that the others may be captured."""
    monkeypatch.setattr("open_tunit.training.steps.state.LOGITS_QUEUE", QUEUE)


LONG = 16
RECORDED = {
    "training.steps": LONG,
    "training.joint_start": 6,
    "training.r1_every": 2,
    "training.queue": QUEUE,
    **STILL,
    **RATES,
}


@pytest.mark.usefixtures("_short_queue")
@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some", "all"])
def test_captured_steps_are_the_eager_ones(preset: str, supervision: Supervision) -> None:
    plan = tiny(preset, supervision, **RECORDED)
    source, refused = batches(plan, CPU, torch.float64), list[str]()
    expected = followed(plainly, plan, descending(plan, GPU), source, LONG)
    take = Steps.on(GPU, refused.append)
    assert_close(followed(take, plan, descending(plan, GPU), source, LONG), expected, 1e-8)
    assert refused == []
    assert take.captured > 0


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_r1_is_in_true_float32_in_a_graph_too(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What D learns from real images: captured it is the eager gradient, from which TF32's, of 10 bits, is far."""
    plan = tiny(preset, **{"discriminator.width": 32, "discriminator.max_width": 64})
    state, step = descending(plan, GPU, torch.float32), Step(plan, half=True)
    batch = moved(batches(plan, CPU, torch.float32).batch(0, BATCH), GPU)
    domains = torch.arange(BATCH, device=GPU) % plan.config.model.domains

    def gradient() -> Tensor:
        step._penalised(state, batch, domains, domains)
        found = torch.cat([p.grad.flatten() for p in state.D.parameters() if p.grad is not None])
        state.D.zero_grad(set_to_none=True)
        return found

    recorder, eager = CudaRecorder(GPU), gradient()
    recorder.warm(lambda: {"gradient": gradient()})
    captured = recorder.capture(gradient)().clone()
    monkeypatch.setattr("open_tunit.training.steps.step.exact_float32", contextlib.nullcontext)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    rough = gradient()
    assert (captured - eager).norm() < 0.1 * (rough - eager).norm()


@pytest.mark.usefixtures("_short_queue")
@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_the_runs_own_optimisers_are_captured_and_saved(preset: str) -> None:
    """Replays change every weight that eager steps change, and the rest of a run may be eager, on a CPU."""
    plan = tiny(preset, **RECORDED)
    source = batches(plan, CPU, torch.float32)
    state = new_state(plan, GPU)
    take = Steps.on(GPU, pytest.fail)
    before = followed(take, plan, state, source, 12)[-1][1]
    after = followed(take, plan, state, source, 14)[-1][1]
    for name in NETWORKS:
        assert not torch.equal(before[name], after[name]), name
    for name in ("opt_G", "opt_D"):
        assert {int(values["step"]) for values in getattr(state, name).state.values()} == {14 - plan.joint_start}
    values = state.state_dict()
    for device in (CPU, GPU):
        later = new_state(plan, device)
        later.load_state_dict(values)
        told = followed(Steps.on(device), plan, later, source, LONG)
        assert all(bool(torch.isfinite(value)) for terms, _ in told for value in terms.values())


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
