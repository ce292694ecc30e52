"""The step of a recipe."""

from __future__ import annotations

from open_tunit.training.plan import Plan
from open_tunit.training.pretrained_step import PretrainedStep
from open_tunit.training.step import Step


def make_step(plan: Plan, half: bool) -> Step | PretrainedStep:
    """The step of the plan's recipe; `half` computes the bulk in bfloat16."""
    return PretrainedStep(plan, half) if plan.recipe.pretrained else Step(plan, half)
