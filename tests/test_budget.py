"""budget.py: minutes to steps, steps to seconds, and steps counted anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from machine import Machine
from small_runs import noisy_batches, tiny

from open_tunit.settings.config import Config
from open_tunit.training.pacing import budget
from open_tunit.training.pacing.budget import (
    FILES_SHARE,
    fitted_to_minutes,
    quickened,
    repaced_guiding,
    repaced_pairs,
    seconds_left,
)
from open_tunit.training.pacing.pace import Pace, Probe
from open_tunit.training.plan import Plan


def plan_of(**training: Any) -> Plan:
    overrides = {f"training.{name}": value for name, value in training.items()}
    return Plan.of(Config.preset("cpu", data="photos", out="run", overrides=overrides))


def test_a_slow_pair_phase_keeps_its_time() -> None:
    planned = plan_of(steps=3000, joint_start=1000, pair_steps=1500)
    assert repaced_pairs(planned, 1100, pace=0.1, left=140) == planned  # 1,500 fit
    fewer = repaced_pairs(planned, 1100, pace=0.2, left=140)
    assert (fewer.pair_steps, fewer.steps - fewer.adversarial_start) == (800, 500)
    assert repaced_pairs(planned, 1100, pace=0.1, left=-5).pair_steps == 100


def test_a_slow_e_gives_up_steps_and_not_gs_time() -> None:
    planned = plan_of(steps=3000, joint_start=1000, pair_steps=0, prototypes_start=0.5)
    assert repaced_guiding(planned, 100, seconds=10, allowed=100) == planned
    assert repaced_guiding(planned, 100, seconds=8.8, allowed=100) == planned  # 1,136 fit, as files take time too
    fewer = repaced_guiding(planned, 100, seconds=20, allowed=100)  # twice as slow: half of the steps
    assert (fewer.joint_start, fewer.steps) == (500, 1500)
    late = repaced_guiding(planned, 400, seconds=80, allowed=100)
    assert (late.joint_start, late.steps) == (802, 1802)  # prototypes begin at 401, and not before
    assert repaced_guiding(planned, 499, seconds=499, allowed=100).joint_start == 1000


def test_an_e_that_has_time_left_gets_steps_and_g_in_proportion() -> None:
    planned = plan_of(steps=3000, joint_start=1000, pair_steps=600, prototypes_start=0.5)
    more = repaced_guiding(planned, 100, seconds=5, allowed=100)
    assert (more.joint_start, more.pair_steps, more.steps) == (2000, 1200, 6000)
    taken = repaced_guiding(planned, 100, seconds=40, allowed=100)
    assert (taken.joint_start, taken.pair_steps, taken.steps) == (250, 150, 750)
    given_back = repaced_guiding(taken, 200, seconds=50, allowed=100)
    assert (given_back.joint_start, given_back.pair_steps, given_back.steps) == (400, 240, 1200)


def test_time_that_is_left_is_steps_of_g() -> None:
    planned = plan_of(steps=3000, joint_start=1000, pair_steps=0)
    assert quickened(planned, 2000, pace=0.1, left=100) == planned  # 950 fit
    assert quickened(planned, 2000, pace=0.1, left=107) == planned  # 1016: not worth a report
    assert quickened(planned, 2000, pace=0.05, left=100).steps == 3900
    assert quickened(planned, 3000, pace=0.1, left=-1) == planned


@pytest.mark.parametrize("done", [0, 250, 500, 900])
def test_what_is_left_is_the_sum_over_its_steps(done: int) -> None:
    plan = plan_of(steps=1000, joint_start=300, pair_steps=400)
    pace = Pace(guiding=0.5, pairs=0.25, joint=2.0, image=0.0)
    steps = sum(getattr(pace, plan.phase(step).name) for step in range(done, 1000))
    drawn = sum(plan.phase(step).train_generator for step in range(done, 1000)) / plan.report_every
    expected = (steps + drawn * pace.joint) / (1 - FILES_SHARE)  # translations of a report take a step
    assert seconds_left(plan, pace, images=4000, done=done) == pytest.approx(expected, rel=0.02)


def test_reports_and_turns_of_phase_count_by_the_images_that_e_encodes() -> None:
    plan = plan_of(steps=1000, joint_start=300, pair_steps=400)
    free, some = (Pace(guiding=0.5, pairs=0.25, joint=2.0, image=seconds) for seconds in (0.0, 0.01))

    def encoded(done: int) -> float:
        left = [seconds_left(plan, pace, images=100, done=done) for pace in (free, some)]
        return (left[1] - left[0]) / 0.01 * (1 - FILES_SHARE)

    report = 100 + 100 + 2 * 100  # mean styles, statistics, domains in two views
    assert encoded(0) == pytest.approx(31 * report + 5 * 100 + 3 * 100 + 100)  # prototypes, domains, pairs
    assert encoded(299) == pytest.approx(22 * report + 3 * 100 + 100)
    assert encoded(999) == pytest.approx(report + 100)


def test_minutes_are_shared_by_the_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda phase, _: {"guiding": 0.5, "pairs": 0.25}.get(phase.name, 1.0))
    shares = {"training__guiding_share": 0.4, "training__pair_share": 0.3, "training__joint_start": None}
    plan = tiny("cpu", minutes=20.0, report_every=10_000, training__pair_weight=1.0, **shares)
    fitted = fitted_to_minutes(plan, noisy_batches(24, torch.float32), half=False, clock=machine.clock)
    left = 1200 * (1 - FILES_SHARE) - machine.now - 1.0  # one report's translations
    joint = fitted.steps - fitted.adversarial_start
    assert fitted.joint_start == pytest.approx(0.4 * left / 0.5, abs=1)
    assert fitted.pair_steps == pytest.approx(0.3 * left / 0.25, abs=1)
    assert joint == pytest.approx(0.3 * left, abs=1)


def test_images_timed_in_a_bad_moment_leave_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 1.0)
    monkeypatch.setattr(Probe, "_seconds_of_an_image", lambda _: 100.0)
    plan = tiny("cpu", minutes=20.0, report_every=100, training__pair_weight=1.0, training__joint_start=None)
    fitted = fitted_to_minutes(plan, noisy_batches(24, torch.float32), half=False, clock=machine.clock)
    left = 1200 * (1 - FILES_SHARE) - machine.now
    assert fitted.steps == pytest.approx(left / 2, abs=3)


def test_the_fewest_minutes_leave_every_phase_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 30.0)
    plan = tiny("cpu", minutes=0.1, training__pair_weight=1.0, training__joint_start=None)
    fitted = fitted_to_minutes(plan, noisy_batches(24, torch.float32), half=False, clock=machine.clock)
    assert (fitted.joint_start, fitted.pair_steps, fitted.steps) == (1, 1, 3)
    assert budget.training_minutes(fitted.config) == 0.1
