"""A run's minutes kept: its steps counted anew at reports, at the pace that the machine shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from open_tunit.training.pacing.budget import quickened, repaced_guiding, repaced_pairs, training_minutes
from open_tunit.training.plan import Phase, Plan

REPORT_MARGIN = 1.5
"""How many times as long as the last report the next one may take, so that minutes are kept."""


@dataclasses.dataclass
class Timekeeper:
    """Of one session."""

    elapsed: Callable[[], float]
    """Seconds of training since the run began, over all its sessions."""
    report_seconds: float = 0.0
    """What the next report may take, by the last one."""
    joint_report: tuple[int, float] | None = None
    """Step and time of the last report since D learns."""
    pairs_began: tuple[int, float] | None = None
    """Step and time at which this session's pair phase began."""

    def step_begins(self, phase: Phase, step: int) -> None:
        """Note the pair phase's beginning."""
        if phase.name == "pairs" and self.pairs_began is None:
            self.pairs_began = step, self.elapsed()

    def reported(self, seconds: float) -> None:
        """Note how long a report took."""
        self.report_seconds = REPORT_MARGIN * seconds

    def went_back(self) -> None:
        """Forget the steps at which phases were begun or reported: they are taken anew."""
        self.joint_report = self.pairs_began = None

    def is_up(self, plan: Plan) -> bool:
        """Whether one more report would end beyond the run's minutes."""
        if plan.config.minutes is None:
            return False
        return self.elapsed() + self.report_seconds > training_minutes(plan.config) * 60

    def repaced(self, plan: Plan, phase: Phase, step: int) -> Plan:
        """`plan` after a report: E gets its share of the time, pairs theirs of what E's phase left, G the rest."""
        if plan.config.minutes is None:
            return plan
        seconds, elapsed = training_minutes(plan.config) * 60, self.elapsed()
        if phase.name == "pairs":
            assert self.pairs_began is not None
            before, then = self.pairs_began
            alone, paired = plan.shares
            began = then if before == plan.joint_start else seconds * alone  # about, where that was in another session
            allowed = (seconds - began) * paired / max(1 - alone, paired)
            return repaced_pairs(plan, step, (elapsed - then) / (step - before), allowed - (elapsed - began))
        if phase.train_generator:
            last, self.joint_report = self.joint_report, (step, elapsed)
            if last is None:
                return plan
            pace = (elapsed - last[1]) / (step - last[0])
            return quickened(plan, step, pace, seconds - elapsed - self.report_seconds)
        if plan.training.prototypes_start == 0 or not phase.learn_domains:
            return repaced_guiding(plan, step, elapsed, seconds * plan.training.guiding_share)
        return plan
