"""Captured steps are the plain ones, to the bit; a recorder that only repeats stands in for a GPU's."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import CPU, fresh, tiny
from torch import Tensor

from open_tunit.data.batches import Batches
from open_tunit.data.pairs import PairTable
from open_tunit.training.plan import Plan, Supervision
from open_tunit.training.steps import graphs
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.graphs import WARM_UP, Steps, copy_batch, copy_of_batch, kind_of
from open_tunit.training.steps.methods import batch_of
from open_tunit.training.steps.objectives import Terms
from open_tunit.training.steps.state import NETWORKS, OPTIMISERS, State
from open_tunit.training.steps.step import Step

COUNT, STEPS, JOINT_START, QUEUE = 24, 18, 5, 6


class Repeater:
    """Replays by taking the step again, from the same places: all of a graph but its speed."""

    def __init__(self) -> None:
        self.warmed = self.captured = self.replayed = 0

    def warm(self, step: Callable[[], Terms]) -> Terms:
        self.warmed += 1
        return step()

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.captured += 1
        place: list[Tensor] = []

        def replay() -> Tensor:
            self.replayed += 1
            found = step()
            if not place:
                place.append(found.clone())
            return place[0].copy_(found)

        return replay


class Failing(Repeater):
    """A GPU without the memory for it."""

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        step()
        raise RuntimeError("out of memory\nand more lines")


@pytest.fixture(autouse=True)
def _short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_tunit.training.steps.state.LOGITS_QUEUE", QUEUE)


def a_run(preset: str, supervision: Supervision = "none") -> tuple[Plan, State, Batches]:
    """E alone, with the domains from its third step on; then all, with R1 every other step and fewer patches."""
    own = {
        "training__pair_weight": 0.0,
        "training__guiding_batch": 6,
        "training__prototypes_start": 0.4,
        "training__patch_full_steps": 2,
    }
    plan = tiny(
        preset,
        supervision,
        **{"training__steps": STEPS, "training__joint_start": JOINT_START, "training__r1_every": 2},
        **{"training__queue": QUEUE, **(own if preset == "cpu" else {})},
    )
    labels = {"none": [-1], "some": [-1, 0, 2], "all": [0, 1, 2]}[supervision]
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    every = np.arange(COUNT)
    batches = Batches(pixels, np.resize(labels, COUNT), every, seed=0, view=plan.views, device=CPU, dtype=torch.float64)
    return plan, fresh(plan), batches


def take_all(take: Any, plan: Plan, state: State, batches: Batches, until: int = STEPS) -> list[dict[str, float]]:
    told = []
    while state.step < until:
        phase = plan.phase(state.step)
        batch = batch_of(batches, phase, state.step, plan.batch_size(phase))
        told.append({name: float(value) for name, value in take(Step(plan), state, batch, phase).items()})
    return told


def plainly(step: Step, *arguments: Any) -> Terms:
    return step(*arguments)


def assert_same(one: State, other: State) -> None:
    for name in NETWORKS:
        for key, value in getattr(one, name).state_dict().items():
            assert torch.equal(value, getattr(other, name).state_dict()[key]), (name, key)
    for name in OPTIMISERS:
        mine, yours = (getattr(each, name).state_dict()["state"] for each in (one, other))
        assert mine.keys() == yours.keys()
        for index, values in mine.items():
            for key, value in values.items():
                assert torch.equal(value, yours[index][key]), (name, index, key)
    assert torch.equal(one.keys.rows, other.keys.rows)
    assert torch.equal(one.logits.rows, other.logits.rows)
    assert one.step == other.step


@pytest.mark.parametrize("preset", ["paper", "cpu"])
@pytest.mark.parametrize("supervision", ["none", "some", "all"])
def test_captured_steps_are_the_plain_ones(preset: str, supervision: Supervision) -> None:
    plan, plain, batches = a_run(preset, supervision)
    captured, recorder = fresh(plan), Repeater()
    expected = take_all(plainly, plan, plain, batches)
    assert take_all(Steps(recorder), plan, captured, batches) == expected
    assert_same(captured, plain)
    assert recorder.captured >= (1 if supervision == "some" else 2)  # a kind for each number of unlabelled images
    assert recorder.replayed >= (1 if supervision == "some" else 4)
    grown = len(expected) - recorder.warmed - recorder.replayed
    assert 0 < grown <= 2, "steps are plain until the queues are full, and no longer"


def test_captured_steps_with_pairs_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_tunit.training.plan.JOINT_WARMUP", 2)
    plan = a_run("cpu")[0].replace({"training.pair_weight": 1.0, "training.pair_steps": 5, "training.steps": 24})
    batches = a_run("cpu")[2]
    batches.pairs = PairTable.random(batches.indices, plan.config.model.domains)
    told, states, recorder = [], [fresh(plan), fresh(plan)], Repeater()
    for take, state in zip((plainly, Steps(recorder)), states, strict=True):
        told.append(take_all(take, plan, state, batches, until=24))
    assert told[0] == told[1]
    assert_same(*states)
    assert recorder.replayed >= 5


def test_each_kind_is_captured_once() -> None:
    plan, state, batches = a_run("cpu")
    recorder = Repeater()
    take_all(Steps(recorder), plan, state, batches)
    # E alone without domains has one full step left, with them three; then R1 and none take turns.
    assert recorder.captured == 3
    assert recorder.warmed == 1 + 3 * WARM_UP


def test_a_run_goes_on_from_what_was_saved() -> None:
    plan, plain, batches = a_run("cpu")
    take_all(plainly, plan, plain, batches)
    first, saved = fresh(plan), io.BytesIO()
    take_all(Steps(Repeater()), plan, first, batches, until=12)
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    values = torch.load(saved, weights_only=True)
    assert isinstance(values["opt_E"]["param_groups"][0]["lr"], float)
    second, recorder = fresh(plan), Repeater()
    second.load_state_dict(values)
    take_all(Steps(recorder), plan, second, batches)
    assert recorder.replayed > 0
    assert_same(second, plain)


def test_what_was_captured_is_forgotten_with_the_memory_it_used() -> None:
    plan, state, batches = a_run("paper")
    recorder = Repeater()
    take = Steps(recorder)
    take_all(take, plan, state, batches, until=12)
    before = recorder.captured
    state.load_state_dict(state.state_dict())  # new queues
    take_all(take, plan, state, batches)
    assert recorder.captured > before
    plain = fresh(plan)
    take_all(plainly, plan, plain, batches)
    assert_same(state, plain)


def test_steps_are_plain_after_a_capture_that_failed() -> None:
    plan, plain, batches = a_run("paper")
    state, said = fresh(plan), list[str]()

    class Refusing(Repeater):
        def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
            raise RuntimeError("out of memory\nand more lines")

    assert take_all(Steps(Refusing(), said.append), plan, state, batches) == take_all(plainly, plan, plain, batches)
    assert said == ["no CUDA graph could be captured, so steps are slower: out of memory"]
    assert_same(state, plain)


def test_a_capture_that_failed_leaves_no_gradients() -> None:
    plan, state, batches = a_run("paper")
    take_all(Steps(Failing()), plan, state, batches, until=6)
    assert all(p.grad is None for name in "EGD" for p in getattr(state, name).parameters())


def test_a_cpu_captures_nothing() -> None:
    plan, state, batches = a_run("paper")
    take = Steps.on(CPU)
    take_all(take, plan, state, batches, until=JOINT_START + 1)
    assert isinstance(state.opt_E.param_groups[0]["lr"], float)


def test_no_more_kinds_than_the_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST_KINDS", 1)
    plan, state, batches = a_run("paper")
    recorder = Repeater()
    take_all(Steps(recorder), plan, state, batches)
    assert recorder.captured == 1


def test_losses_that_are_no_numbers_are_noticed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, state, batches = a_run("paper")

    class Spoilt(Repeater):
        def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
            replay = super().capture(step)
            return lambda: replay() * torch.nan

    take = Steps(Spoilt())
    take_all(take, plan, state, batches, until=12)
    monkeypatch.setattr(graphs, "LOOK_EVERY", 13)
    take_all(take, plan, state, batches, until=13)
    with pytest.raises(NotFiniteError, match=r"at step 13 .*nan"):
        take_all(take, plan, state, batches, until=14)


def test_kinds_are_phases_without_their_numbers_and_shapes() -> None:
    plan, _, batches = a_run("cpu")
    batch, phase = batches.batch(0, 4), plan.phase(JOINT_START)
    kind = kind_of(plan, batch, phase)
    later = dataclasses.replace(phase, generator_steps=4, joint_steps=4, patch_weight=0.1, guiding_learning_rate=1.0)
    assert kind_of(plan, batches.batch(1, 4), later) == kind
    for other in ({"joint_steps": 1}, {"patch_weight": 0.0}, {"freeze_domains": False}, {"learn_domains": False}):
        assert kind_of(plan, batch, dataclasses.replace(phase, **other)) != kind
    assert kind_of(plan, batches.batch(0, 6), phase) != kind
    assert kind_of(plan, dataclasses.replace(batch, unlabelled=batch.unlabelled[:2]), phase) != kind


def test_a_batch_is_copied_to_where_another_is() -> None:
    batches = a_run("paper")[2]
    batch, other = batches.batch(0, 4), batches.batch(1, 4)
    held = copy_of_batch(batch)
    assert held.x_domain is held.x_plus
    assert held.x is not batch.x
    copy_batch(other, held)
    for field in dataclasses.fields(held):
        mine, yours = getattr(held, field.name), getattr(other, field.name)
        if isinstance(yours, Tensor):
            assert torch.equal(mine, yours), field.name
    for mine, yours in zip(held.translation_numbers, other.translation_numbers, strict=True):
        assert (mine is None) == (yours is None)
        assert mine is None or torch.equal(mine, yours)
