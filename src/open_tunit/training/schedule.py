"""Which networks learn at a step, and with what weight."""

from __future__ import annotations

import dataclasses
from typing import Literal

from open_tunit.config import Training

Supervision = Literal["none", "some", "all"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """What a step does."""

    name: Literal["guiding", "joint", "separate"]
    train_guiding: bool
    train_generator: bool
    guiding_weight: float
    """Weight of E's own loss."""
    guiding_learning_rate: float | None = None
    """Of E; None = training.guiding_learning_rate."""
    patch_weight: float = 0.0
    """Weight of patches in G's loss."""
    generator_steps: int = 0
    """Steps that G and D have learned for before this one."""
    seek_domains: bool = True
    """Whether the domain objective counts yet."""
    hold_domains: bool = False
    """Whether E learns no more than its palette, or its style code where it has none."""
    labelled_only: bool = False
    """Draw the batch from the labelled images alone."""


def joint_start(training: Training, supervision: Supervision) -> int:
    """The first step at which G and D learn."""
    if supervision == "all":
        return 0
    if supervision == "some" and training.joint_start is None:
        return min(training.semi_joint_start, training.steps // 2)
    if training.joint_start is not None:
        return training.joint_start
    return round(training.steps * training.guiding_share)


def labelled_only_steps(training: Training) -> int:
    """Semi-supervised: first steps on labelled images alone; in a short run no larger a share than the published."""
    published = Training()
    share = published.labelled_only_steps / published.semi_joint_start
    return min(training.labelled_only_steps, int(joint_start(training, "some") * share))


def prototypes_step(training: Training, supervision: Supervision) -> int:
    """The step at which balanced prototypes begin."""
    return round(training.prototypes_start * joint_start(training, supervision))


def batch_at(phase: Phase, training: Training) -> int:
    """Images of a step of this phase."""
    alone = phase.name == "guiding" and training.guiding_batch is not None
    return training.guiding_batch if alone and training.guiding_batch else training.batch


def phase_at(step: int, training: Training, supervision: Supervision) -> Phase:
    """The phase of `step` (from 0). `training.joint_start` is what `joint_start` resolved it to."""
    labelled_only = supervision == "some" and step < labelled_only_steps(training)
    if step < joint_start(training, supervision):
        return Phase(
            name="guiding",
            train_guiding=True,
            train_generator=False,
            guiding_weight=1.0,
            seek_domains=step >= prototypes_step(training, supervision),
            labelled_only=labelled_only,
        )
    joint = training.schedule == "joint"
    learned_alone = joint_start(training, supervision) > 0
    generator_steps = step - joint_start(training, supervision)
    return Phase(
        name="joint" if joint else "separate",
        train_guiding=joint,
        train_generator=True,
        guiding_weight=training.guiding_weight,
        guiding_learning_rate=_joint_rate(training, generator_steps) if learned_alone else None,
        patch_weight=_falling(training.patch_weight, training.patch_full_steps, generator_steps),
        generator_steps=generator_steps,
        hold_domains=training.hold_domains and learned_alone,
        labelled_only=labelled_only,
    )


def _joint_rate(training: Training, generator_steps: int) -> float:
    """E's rate after so many steps of G: a palette that follows G for long grows in one direction."""
    own = training.joint_guiding_learning_rate
    rate = training.guiding_learning_rate if own is None else own
    return _falling(rate, training.joint_guiding_full_steps, generator_steps)


def _falling(value: float, full_steps: int | None, steps: int) -> float:
    """`value` for so many steps, and from then on falling as 1 / steps."""
    return value if full_steps is None else value * min(1.0, full_steps / (steps + 1))
