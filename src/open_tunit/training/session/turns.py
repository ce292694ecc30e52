"""What is done once before a phase's first step: prototypes begin, domains settle, codes and pairs are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from rich.console import Console

from open_tunit.data.batches import Batches, ImageCodes
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.distributed.group import Group
from open_tunit.training.fitting.pretrained import image_codes
from open_tunit.training.fitting.transitions import (
    LEAST_CONFIDENCE,
    begin_prototypes,
    frozen_codes,
    open_palette,
    pair_table,
    settle_domains,
    settle_statistics,
)
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.state import State, alter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turns:
    """Changes the state, and the codes and pairs of the batches, where `take` is called before every step."""

    state: State
    batches: Batches
    group: Group
    console: Console

    def take(self, phase: Phase, plan: Plan) -> Plan:
        """Do what comes before a step of `phase`; returns the plan, which is another where there are no pairs.

        Raises NotFiniteError before weights are altered that are not finite.
        """
        seed, step = plan.config.seed, self.state.step
        unlabelled = plan.supervision == "none"  # labels number the domains; clusters would number them anew
        if unlabelled and plan.training.prototypes_start > 0 and step == plan.domains_start:
            self._once(lambda: begin_prototypes(self.state, self.batches, plan))
        if plan.recipe.pretrained:
            if self.batches.codes is None:
                self._compute_codes(plan)
        elif phase.train_generator and phase.generator_steps == 0:
            if phase.freeze_domains:
                self._once(lambda: settle_statistics(self.state, self.batches, seed))
                if unlabelled:
                    self._once(lambda: settle_domains(self.state, self.batches, plan))
            self._once(lambda: open_palette(self.state, self.batches, seed))
        if not plan.recipe.pretrained:  # E's codes stay the same in the pair phase alone
            self.batches.codes = self._frozen_codes() if phase.name == "pairs" else None
        if phase.train_generator and plan.pairs and self.batches.pairs is None:
            return self._with_pairs(plan)
        return plan

    def _once(self, change: Callable[[], object]) -> None:
        """A change of sound weights, which one process works out for all."""
        self.state.check()
        alter(self.state, self.group, change)

    def _frozen_codes(self) -> ImageCodes:
        if self.batches.codes is not None:
            return self.batches.codes
        return self.group.first(lambda: frozen_codes(self.state, self.batches)).on(self.batches.device)

    def _compute_codes(self, plan: Plan) -> None:
        """Where E is fitted, not trained: what it gives for each image, once a session."""
        print_line(self.console, "computing the pretrained network's features of the images")
        codes = alter(self.state, self.group, lambda: image_codes(self.state, self.batches, plan))
        self.batches.codes = codes.on(self.batches.device)

    def _with_pairs(self, plan: Plan) -> Plan:
        """Pairs of training images, anew in each session: they follow from the frozen E and the images alone."""
        table = self.group.first(lambda: pair_table(self.state, self.batches, plan))
        if table.confidence >= LEAST_CONFIDENCE:
            self.batches.pairs = table
            return plan
        print_warning(
            self.console,
            f"too few images are like one of another domain (pairs count {table.confidence:.2f} of 1, at least "
            f"{LEAST_CONFIDENCE} is needed): trained without pairs",
        )
        if not plan.recipe.pretrained:  # this step is a joint one now
            self.batches.codes = None
        return plan.without_pairs()
