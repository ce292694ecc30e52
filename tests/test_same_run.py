"""same_run.py: what becomes of a run whose budget is asked for anew."""

from __future__ import annotations

import pytest
from test_budget import plan_of

from open_tunit.training.session.same_run import extended


@pytest.mark.parametrize(("minutes", "joint"), [(20.0, 300), (10.0, 150), (0.01, 1), (40.0, 1300)])
def test_other_minutes_leave_every_run_a_joint_phase(minutes: float, joint: int) -> None:
    stored = plan_of(steps=1000, joint_start=300, pair_steps=400).replace({"minutes": 20.0})
    config = extended(stored, stored.replace({"minutes": minutes, "training.steps": 1}).config)
    assert config.minutes == minutes
    assert config.training.steps - 700 == joint
