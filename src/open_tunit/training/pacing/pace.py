"""How long a run's parts take on this machine, by a few throw-away steps of a state of their own."""

from __future__ import annotations

import copy
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from open_tunit.data.batches import Batches, ImageCodes
from open_tunit.data.pairs import PairTable
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.graphs import Steps
from open_tunit.training.steps.methods import batch_of, make_step
from open_tunit.training.steps.state import new_state

ENCODED = 64
"""Images at once whose way through E is timed."""

Clock = Callable[[], float]


class Effort(NamedTuple):
    """How often each kind of step is taken to time it."""

    warm: int
    """First steps that do not count; the last one does where there are no others."""
    timed: int
    patience_seconds: float
    """After which no further step of a kind is taken."""


THOROUGH = Effort(warm=3, timed=8, patience_seconds=10.0)
"""To turn minutes into steps; and on a GPU, whose first steps make CUDA graphs."""
ROUGH = Effort(warm=1, timed=2, patience_seconds=4.0)
"""To say how long a run takes; one step of each kind where they take longer than that."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds that parts of a run take."""

    guiding: float
    """A step of E alone."""
    pairs: float
    """A step of the pair phase; 0 without one."""
    joint: float
    """A step of the joint phase, in the mean over those with and without gradient penalty."""
    image: float
    """An image through E, as between phases and at reports."""


class Probe:
    """A state of the plan that is thrown away: nothing of the run, and no random number of it, is touched.

    All processes of `group` take the steps, by the clock of process 0.
    """

    def __init__(
        self,
        plan: Plan,
        batches: Batches,
        *,
        half: bool,
        clock: Clock = time.perf_counter,
        group: Group = ALONE,
    ) -> None:
        self._plan, self._clock, self._device, self._group = plan, clock, batches.device, group
        self._state = new_state(plan, batches.device)
        for queue in (self._state.keys, self._state.logits):  # full, as nearly all of the run
            queue.push(queue.rows.new_zeros(queue.size, queue.rows.shape[1]))
        self._take = functools.partial(Steps.on(batches.device, group=group), make_step(plan, half, group), self._state)
        self._batches, self._codes = copy.copy(batches), _codes(plan, batches)
        if plan.pairs:
            self._batches.pairs = PairTable.random(batches.indices, plan.config.model.domains)
        counted = {"training.steps": 4, "training.joint_start": 1} | ({"training.pair_steps": 1} if plan.pairs else {})
        short = dataclasses.replace(plan, supervision="none").replace(counted)
        begun, learned = short.joint_start, short.adversarial_start
        self._phases = {"guiding": 0, "pairs": begun, "joint": learned, "joint without R1": learned + 1}
        self._phase_at = short.phase

    def first_joint_step(self) -> float:
        """Seconds of one step of the joint phase, with all that a first one takes: more than a later one."""
        return self._seconds("joint", Effort(0, 1, 0.0))

    def pace(self, effort: Effort) -> Pace:
        """The seconds of every part. Raises what steps raise, but NotFiniteError."""
        plan = self._plan
        guiding = 0.0 if plan.recipe.pretrained else self._seconds("guiding", effort)
        pairs = self._seconds("pairs", effort) if plan.pairs else 0.0
        joint, every = self._seconds("joint", effort), plan.training.r1_every
        if every > 1 and not plan.recipe.pretrained:
            plain = self._seconds("joint without R1", effort)
            joint = plain + (joint - plain) / every
        return Pace(guiding=guiding, pairs=pairs, joint=joint, image=self._seconds_of_an_image())

    def _seconds(self, kind: str, effort: Effort) -> float:
        """Of a step in the mean: a median would leave out what other processes take."""
        phase = self._phase_at(self._phases[kind])
        self._batches.codes = self._codes if phase.name == "pairs" or self._plan.recipe.pretrained else None
        unhurried = effort.warm if self._device.type == "cuda" else 0
        spent: list[float] = []
        while len(spent) < effort.warm + effort.timed:
            begun = self._now()
            sound = self._one(phase, len(spent))
            spent.append(self._now() - begun)
            if self._group.agree(not sound or sum(spent[unhurried:]) > effort.patience_seconds):
                break
        return self._group.first(lambda: statistics.mean(spent[min(effort.warm, len(spent) - 1) :]))

    def _one(self, phase: Phase, number: int) -> bool:
        """Take a step; False where its losses are no numbers, which only a run itself may complain of."""
        try:
            self._take(batch_of(self._batches, phase, number, self._plan.batch_size(phase)), phase)
        except NotFiniteError:
            return False
        return True

    @torch.no_grad()
    def _seconds_of_an_image(self) -> float:
        E, count = self._state.E_ema.eval(), min(ENCODED, len(self._batches.indices))
        x = self._batches.pictures(self._batches.indices[:count])
        E(x)  # allocates what later ones use again
        begun = self._now()
        E(x)
        seconds = (self._now() - begun) / count
        return self._group.first(lambda: seconds)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return self._clock()


def _codes(plan: Plan, batches: Batches) -> ImageCodes:
    """Codes of as many images as there are."""
    styles = torch.zeros(len(batches.indices), plan.config.model.style_dim, device=batches.device)
    return ImageCodes.of(batches.indices, styles, np.arange(len(styles)) % plan.config.model.domains)
