"""pace.py: throw-away steps that are timed, and leave no trace."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from machine import Machine
from small_runs import noisy_batches, parameters, same, tiny

from open_tunit.training.pacing.pace import ROUGH, THOROUGH, Effort, Probe
from open_tunit.training.plan import Phase
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.state import new_state
from open_tunit.training.steps.step import Step

PAIRED = {
    "training__joint_start": 4, "training__steps": 10, "training__pair_steps": 3, "training__pair_weight": 1.0,
    "training__r1_every": 4,
}  # fmt: skip


def _probe(machine: Machine, **changes: Any) -> Probe:
    plan = tiny("cpu" if changes == PAIRED else "paper", **changes)
    return Probe(plan, noisy_batches(24, torch.float32), half=False, clock=machine.clock)


def _seconds(phase: Phase, penalised: bool) -> float:
    return {"guiding": 0.5, "pairs": 0.25}.get(phase.name, 1.0 if penalised else 0.6)


def test_each_kind_of_step_is_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, _seconds)
    pace = Probe(tiny("cpu", **PAIRED), noisy_batches(24, torch.float32), half=False, clock=machine.clock).pace(
        THOROUGH
    )
    assert (pace.guiding, pace.pairs) == (0.5, 0.25)
    assert pace.joint == pytest.approx((1.0 + 3 * 0.6) / 4)
    assert machine.taken == {"guiding": 11, "pairs": 11, "joint": 22}


def test_without_pairs_or_lazy_penalties_there_are_two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, _seconds)
    pace = _probe(machine, training__joint_start=4, training__steps=10).pace(ROUGH)
    assert (pace.guiding, pace.pairs, pace.joint) == (0.5, 0.0, 1.0)
    assert machine.taken == {"guiding": 3, "joint": 3}


@pytest.mark.parametrize(("effort", "seconds", "steps"), [(ROUGH, 5.6, 1), (ROUGH, 2.5, 2), (THOROUGH, 4.0, 3)])
def test_slow_steps_are_taken_once_or_twice(
    monkeypatch: pytest.MonkeyPatch, effort: Effort, seconds: float, steps: int
) -> None:
    machine = Machine(monkeypatch, lambda *_: seconds)
    pace = Probe(tiny(training__joint_start=4), noisy_batches(24, torch.float32), half=False, clock=machine.clock).pace(
        effort
    )
    assert (pace.guiding, pace.joint) == (seconds, seconds)
    assert machine.taken == {"guiding": steps, "joint": steps}


def test_what_other_processes_take_counts_and_the_first_steps_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = itertools.chain([7.0, 0.1, 0.5], itertools.repeat(0.1))
    machine = Machine(monkeypatch, lambda *_: next(costs))
    probe = _probe(machine)
    assert probe.first_joint_step() == 7.0
    assert probe.pace(Effort(warm=1, timed=4, patience_seconds=9)).guiding == pytest.approx((0.5 + 3 * 0.1) / 4)


def test_losses_that_are_no_numbers_end_the_timing_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise NotFiniteError("the loss of E is not finite")

    monkeypatch.setattr(Step, "__call__", fail)
    assert (
        Probe(tiny(), noisy_batches(24, torch.float32), half=False, clock=itertools.count().__next__)
        .pace(THOROUGH)
        .joint
        == 1
    )


def test_real_steps_leave_the_run_and_its_random_numbers_as_they_were() -> None:
    plan, batches = tiny("cpu", **PAIRED), noisy_batches(24, torch.float32)
    attributes, drawn, state = copy.copy(vars(batches)), torch.get_rng_state(), new_state(plan, batches.device)
    before = parameters(state.G)
    pace = Probe(plan, batches, half=False).pace(Effort(0, 1, 0.0))
    assert min(pace.guiding, pace.pairs, pace.joint, pace.image) > 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert vars(batches) == attributes
    assert same(new_state(plan, batches.device).G, before)
