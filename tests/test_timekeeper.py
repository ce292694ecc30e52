"""timekeeper.py on machines of several tempers, whose steps take time and do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_budget import plan_of

from open_tunit.settings.config import Config
from open_tunit.training.pacing.timekeeper import Timekeeper
from open_tunit.training.plan import Plan

MINUTES, STEP = 10.0, 0.1
"""Of the run, and seconds of a step on the machine as it was timed."""
GUIDING, PAIRS = 0.3, 0.4
REPORT_SECONDS = 0.2
TIMED = MINUTES * 60 * 0.92 / STEP
"""Steps that fit into the minutes with what reports take."""


def planned(scale: float = 1.0, **training: Any) -> Plan:
    """The plan of a machine that was timed at `scale` times its speed."""
    steps = {"joint_start": GUIDING, "pair_steps": PAIRS, "steps": 1.0}
    counts = {name: round(TIMED * scale * share) for name, share in steps.items()}
    shares = {"guiding_share": GUIDING, "pair_share": PAIRS}
    return plan_of(**counts, **shares, **training).replace({"minutes": MINUTES})


def trained(
    plan: Plan, seconds: Callable[[float], float], before: float = 0.0, killed: int = -1
) -> tuple[Plan, float, list[Plan]]:
    """The plan at the end, the time, and the plans after each report; `seconds` of a step at a time, `before` them.

    After `killed` steps another session goes on.
    """
    now, step, plans = before, 0, [plan]

    def elapsed() -> float:
        return now

    keeper, every = Timekeeper(elapsed), plan.report_every
    while step < plan.steps:
        if step == killed:
            keeper = Timekeeper(elapsed)
        phase = plan.phase(step)
        begun = plans[-1].domains_start <= step
        keeper.step_begins(phase, step)
        now, step = now + seconds(now), step + 1
        if phase.train_generator and keeper.is_up(plan):
            return plan, now, plans
        if step % every == 0:
            now += REPORT_SECONDS
            keeper.reported(REPORT_SECONDS)
            plan = keeper.repaced(plan, phase, step)
            assert step < plan.domains_start or plan.domains_start == plans[-1].domains_start or not begun
            plans.append(plan)
    return plan, now, plans


def test_an_undisturbed_machine_keeps_the_steps_of_e_that_were_planned() -> None:
    plan, spent, plans = trained(planned(), lambda _: STEP)
    assert {each.joint_start for each in plans} == {planned().joint_start}
    assert MINUTES * 60 * 0.95 < spent <= MINUTES * 60
    assert plan.steps >= planned().steps


def test_a_machine_that_was_slow_for_a_while_gives_e_its_steps_back() -> None:
    def seconds(now: float) -> float:
        return STEP * (4 if now < 30 else 1)

    plan, spent, plans = trained(planned(), seconds)
    fitting = 30 / (4 * STEP) + (MINUTES * 60 * GUIDING - 30) / STEP
    least = min(each.joint_start for each in plans)
    assert least < planned().joint_start / 2
    assert 0.85 * fitting < plan.joint_start <= fitting
    assert MINUTES * 60 * 0.95 < spent <= MINUTES * 60


def test_what_was_timed_too_slow_is_trained_longer() -> None:
    plan, spent, _ = trained(planned(0.5), lambda _: STEP)
    assert plan.joint_start == pytest.approx(MINUTES * 60 * GUIDING / STEP, rel=0.1)
    assert MINUTES * 60 * 0.95 < spent <= MINUTES * 60


def test_domains_that_have_begun_stay_where_they_are() -> None:
    first = planned(prototypes_start=0.2)
    begin = first.domains_start * STEP + 20  # and what reports take
    plan, _, _ = trained(first, lambda now: STEP if now < begin else STEP / 4)
    assert (plan.joint_start, plan.domains_start) == (first.joint_start, first.domains_start)


@pytest.mark.parametrize("before", [0.0, 90.0])
def test_a_run_without_a_phase_of_e_gives_pairs_their_share_of_the_time_from_their_first_step(before: float) -> None:
    counts = {"steps": round(TIMED), "pair_steps": round(TIMED * PAIRS)}
    overrides = {
        f"training.{name}": value for name, value in (counts | {"pair_share": PAIRS, "pair_weight": 5.0}).items()
    }
    assert not Plan.of(Config.preset("photos", data="photos", out="run")).pairs
    photos = Plan.of(Config.preset("photos", data="photos", out="run", overrides=overrides)).replace(
        {"minutes": MINUTES}
    )
    assert photos.training.guiding_share > 0  # which is of no use there
    plan, spent, _ = trained(photos, lambda _: STEP, before)
    assert plan.pair_steps == pytest.approx((MINUTES * 60 - before) * PAIRS / STEP, rel=0.05)
    assert MINUTES * 60 * 0.95 < spent <= MINUTES * 60


def test_a_pair_phase_that_is_resumed_just_before_a_report_goes_on() -> None:
    plan = planned()
    late = plan.joint_start // plan.report_every + 8  # where a step that was timed with a report weighs most
    resumed, spent, _ = trained(plan, lambda _: STEP, killed=late * plan.report_every - 1)
    assert resumed.pair_steps == pytest.approx(MINUTES * 60 * PAIRS / STEP, rel=0.1)
    assert MINUTES * 60 * 0.95 < spent <= MINUTES * 60


def test_without_minutes_nothing_is_counted_anew() -> None:
    plan = plan_of(steps=300, joint_start=100, pair_steps=50)
    assert trained(plan, lambda now: 0.1 if now < 1 else 5.0)[2] == [plan] * (1 + 300 // plan.report_every)
