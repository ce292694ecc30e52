"""A machine whose steps take what a test says, and no time else: a clock, and steps that compute nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from open_tunit.training.plan import Phase
from open_tunit.training.steps.step import Step


class Machine:
    """`clock` gives its seconds; `taken` counts the steps by phase."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[Phase, bool], float]) -> None:
        """`seconds` of a step of a phase, and whether it has the gradient penalty."""
        self.now = 0.0
        self.taken: Counter[str] = Counter()

        def step(own: Step, state: Any, batch: Any, phase: Phase) -> dict[str, Any]:
            self.taken[phase.name] += 1
            self.now += seconds(phase, own.plan.penalised(phase))
            state.step += 1
            return {}

        monkeypatch.setattr(Step, "__call__", step)

    def clock(self) -> float:
        return self.now
