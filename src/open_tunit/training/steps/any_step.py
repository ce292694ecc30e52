"""What the training steps of all recipes share: their order, their precision, and steps on pairs, of G alone."""

from __future__ import annotations

import abc
import contextlib
import dataclasses

import torch
from torch import Tensor

from open_tunit.data.batches import Batch, PairBatch, PairTargets
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.distributed.shares import Share
from open_tunit.training.plan import PAIR_PHASE_WEIGHT, Phase, Plan
from open_tunit.training.steps import objectives
from open_tunit.training.steps.descent import descend
from open_tunit.training.steps.state import State, full


@dataclasses.dataclass(frozen=True)
class AnyStep(abc.ABC):
    """`step(state, batch, phase)` updates the state in place and returns the unweighted loss terms."""

    plan: Plan
    half: bool = False
    """bfloat16 autocast for the bulk."""
    group: Group = ALONE
    """The processes that take the step together, each with its part of the batch."""

    def __call__(self, state: State, batch: Batch | PairBatch, phase: Phase) -> objectives.Terms:
        """One step of the phase; raises NotFiniteError before the update that would spoil the networks.

        On a GPU losses are looked at only when LOOK_EVERY divides the step: the networks may be spoilt since the last
        look.
        """
        self.prepare(state, phase)
        terms = self.compute(state, batch, phase)
        self.finish(state, phase)
        return terms

    def compute(
        self, state: State, batch: Batch | PairBatch, phase: Phase, patch_weight: Tensor | None = None
    ) -> objectives.Terms:
        """All that a CUDA graph can hold: the losses, the optimisers, the queues; `prepare` goes before it.

        `patch_weight` stands for the phase's where that is above 0, at an address that stays.
        """
        if isinstance(batch, PairBatch):
            return self._update_on_pairs(state, batch, phase)
        return self.update(state, batch, phase, patch_weight)

    @abc.abstractmethod
    def prepare(self, state: State, phase: Phase) -> None:
        """Set modes, learning rates, and which parts are trained."""

    @abc.abstractmethod
    def update(self, state: State, batch: Batch, phase: Phase, patch_weight: Tensor | None) -> objectives.Terms:
        """Train the networks of the phase on a batch."""

    @abc.abstractmethod
    def finish(self, state: State, phase: Phase) -> None:
        """Update the averages, and count the step."""

    def _autocast(self, x: Tensor) -> contextlib.AbstractContextManager[None]:
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.half)

    def _share(self, phase: Phase) -> Share:
        return self.group.share(self.plan.batch_size(phase))

    def _update_on_pairs(self, state: State, batch: PairBatch, phase: Phase) -> objectives.Terms:
        """G alone, towards other pictures of the folder."""
        with self._autocast(batch.x_content):
            drawn = self._drawn_pairs(state, batch.targets, state.G.encode(batch.x_content))
        objective = objectives.pairs(drawn, batch.targets, PAIR_PHASE_WEIGHT)
        return descend(objective, "G", [(state.G, state.opt_G)], state.step, self._share(phase))

    def _drawn_pairs(self, state: State, targets: PairTargets, content: Tensor) -> Tensor:
        """The sources' content in the styles of their pairs."""
        style = targets.styles
        if style is None:
            with torch.no_grad():
                style = full(state.E(targets.pictures).style)
        return full(state.G.decode(content[targets.places], style))
