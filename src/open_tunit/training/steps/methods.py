"""The step of a recipe, and the batch that a phase reads."""

from __future__ import annotations

from open_tunit.data.batches import Batch, Batches, PairBatch
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.plan import PAIRS_PER_SOURCE, Phase, Plan
from open_tunit.training.steps.any_step import AnyStep
from open_tunit.training.steps.pretrained_step import PretrainedStep
from open_tunit.training.steps.step import Step


def make_step(plan: Plan, half: bool, group: Group = ALONE) -> AnyStep:
    """The step of the plan's recipe, taken by all processes of `group`; `half` computes the bulk in bfloat16."""
    return PretrainedStep(plan, half, group) if plan.recipe.pretrained else Step(plan, half, group)


def batch_of(batches: Batches, phase: Phase, number: int, size: int) -> Batch | PairBatch:
    """The batch of step `number`, of `size` images."""
    if phase.name == "pairs":
        return batches.pair_batch(number, size, PAIRS_PER_SOURCE)
    return batches.batch(number, size, labelled_only=phase.labelled_only)
