"""--minutes: a run that keeps to its time, whatever the machine's speed turns out to be."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import (
    Begin,
    lines_of,
    stored_settings,
    ticking,
    trained,
)

from open_tunit.training.pacing import budget
from open_tunit.training.plan import Plan
from open_tunit.training.session import opening


def test_minutes_become_steps_once(config: Begin) -> None:
    asked = config(joint_start=None, minutes=0.01, report_every=1000, set={"training.guiding_share": 0.3})
    asked = asked.replace({"training.batch": 2, "training.guiding_batch": 2})
    model, said = trained(asked, clock=ticking(0.02))
    training = stored_settings(asked)["training"]
    assert model.about["step"] == training["steps"] > training["joint_start"] > 0
    _, said = trained(asked)
    assert f"finished: {training['steps']} steps" in said
    assert stored_settings(asked)["training"] == training


@pytest.mark.parametrize(("steps", "noted"), [(99, True), (100, False)])
def test_minutes_too_few_to_learn_from(config: Begin, monkeypatch: pytest.MonkeyPatch, steps: int, noted: bool) -> None:
    def counted(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": steps, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", counted)
    _, said = trained(config(joint_start=None, minutes=0.001, report_every=1000), clock=ticking(0.1))
    assert (f"warning: --minutes 0.001 makes {steps} steps on this machine, too few to learn from" in said) == noted


def test_a_machine_that_becomes_slow_ends_the_run_in_time(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 1_000_000, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", hopeful)
    asked = config(joint_start=None, minutes=0.02, report_every=1_000_000)
    tick = 0.05
    model, said = trained(asked, clock=ticking(tick))
    steps = stored_settings(asked)["training"]["steps"]
    assert steps == pytest.approx(1.2 / tick, abs=3)  # a look at the clock per step
    assert f"0.02 minutes are up at step {steps} of 1000000 that were planned" in said
    assert model.about["step"] == steps
    assert [line["step"] for line in lines_of(asked)] == [steps]
    assert 1.2 <= lines_of(asked)[0]["seconds"] <= 1.2 + 3 * tick
    _, said = trained(asked)
    assert f"finished: {steps} steps" in said
    trained(asked.replace({"minutes": 0.03}), clock=ticking(tick))
    assert stored_settings(asked)["training"]["steps"] > steps


def test_a_run_that_is_faster_than_it_was_timed_uses_its_minutes(
    config: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timid(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 6, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", timid)
    monkeypatch.setattr(budget, "WORTHWHILE", 1)
    asked = config(joint_start=None, minutes=0.1, report_every=2)
    trained(asked, clock=ticking(0.05))
    steps = stored_settings(asked)["training"]["steps"]
    last = lines_of(asked)[-1]
    assert (steps > 6, last["step"]) == (True, steps)
    assert 5 < last["seconds"] < 6.2
    assert f"finished: {steps} steps" in trained(asked)[1]


def test_a_run_keeps_es_share_of_the_time(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 4000, "training.joint_start": 2000})

    monkeypatch.setattr(opening, "fitted_to_minutes", hopeful)
    share = {"training.guiding_share": 0.5}
    trained(config(joint_start=None, minutes=0.1, report_every=3, set=share), clock=ticking(0.05))
    phases = [line["phase"] for line in lines_of(config())]
    assert {"guiding", "joint"} == set(phases)
    guiding = [line["seconds"] for line in lines_of(config()) if line["phase"] == "guiding"]
    assert guiding[-1] < 6 * 0.8  # half of the time, and what the last report took
