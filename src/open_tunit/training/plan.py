"""The plan of a run: config, data set, recipe and budget, resolved once into phases, batches and weights by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from open_tunit.data.dataset import Dataset
from open_tunit.data.views import Views
from open_tunit.settings.config import Config, Training
from open_tunit.settings.conversion import require
from open_tunit.settings.recipes import RECIPES, Recipe

Supervision = Literal["none", "some", "all"]

SEMI_JOINT_START, LABELLED_ONLY_STEPS = 35_000, 20_000
"""Semi-supervised, as published: first step of the joint phase, and first steps on labelled images alone."""
LABEL_WEIGHT = 5.0
"""Of the cross-entropy on labelled images in semi-supervised training, as published."""
PAIRS_PER_SOURCE = 2
"""Domains in which the pair phase takes each source's pair."""
PAIR_PHASE_WEIGHT = 10.0
"""Of the L1 to pairs while G learns by nothing else."""
JOINT_WARMUP = 50
"""Steps over which G's rate rises again when D joins after the pair phase: its averages are of other gradients."""
REPORTS, FEWEST_STEPS = 30, 20
"""Reports of a run, and the steps between two at the least: a report costs as much as several steps."""
FEW_IMAGES = 500
FEWEST_PER_DOMAIN = 10
"""Training images that a domain needs at least."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """What one step trains, and with what weights."""

    name: Literal["guiding", "pairs", "joint", "separate"]
    train_guiding: bool
    train_generator: bool
    guiding_weight: float
    """Weight of E's own loss."""
    guiding_learning_rate: float
    """Of E."""
    patch_weight: float = 0.0
    """Weight of the patch loss in G's loss."""
    generator_steps: int = 0
    """Steps of G before this one."""
    joint_steps: int = 0
    """Steps of D before this one."""
    generator_rate: float = 1.0
    """Factor on the learning rate of G."""
    learn_domains: bool = True
    """Whether the domain objective counts yet."""
    freeze_domains: bool = False
    """Whether of E only the palette is trained, or the style head where there is no palette."""
    labelled_only: bool = False
    """Draw the batch from the labelled images alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the loop and the step read. `plan.phase(step)` is a function of the step alone."""

    config: Config
    """As resolved for the data set and the budget: what the run's config.yaml holds."""
    recipe: Recipe
    supervision: Supervision = "none"
    notes: tuple[str, ...] = ()
    """What the user should know of how the data set changed the settings."""

    @classmethod
    def of(cls, config: Config, supervision: Supervision = "none", recipe: Recipe | None = None) -> Plan:
        """The plan of a config as it is; `recipe` None is the one that it names."""
        return cls(config=config, recipe=RECIPES[config.recipe] if recipe is None else recipe, supervision=supervision)

    @property
    def training(self) -> Training:
        """The config's section of that name."""
        return self.config.training

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.training.steps

    @property
    def report_every(self) -> int:
        """Steps between two reports."""
        return self.config.report_every or max(FEWEST_STEPS, self.steps // REPORTS)

    @property
    def views(self) -> Views:
        """How batches show images."""
        return Views.of(self.config.data.views, self.recipe)

    @property
    def pairs(self) -> bool:
        """Whether G is trained on pairs found in the folder."""
        training = self.training
        own_phase = training.joint_start != 0 or self.recipe.pretrained
        asked = training.pair_weight > 0 and training.pair_steps != 0
        return self.recipe.pairs and self.recipe.freeze_domains and own_phase and asked

    @property
    def joint_start(self) -> int:
        """The first step at which G learns."""
        training = self.training
        needless = self.supervision == "all" and not self.pairs and training.schedule == "joint"
        if self.recipe.pretrained or needless:
            return 0
        if training.joint_start is not None:
            return training.joint_start
        if self.supervision == "some":
            return min(SEMI_JOINT_START, training.steps // 2)
        return round(training.steps * training.guiding_share)

    @property
    def pair_steps(self) -> int:
        """Steps of the pair phase, from `joint_start` on; D learns after them."""
        if not self.pairs:
            return 0
        if self.training.pair_steps is not None:
            return self.training.pair_steps
        return max(0, min(round(self.training.pair_share * self.steps), self.steps - self.joint_start - 1))

    @property
    def adversarial_start(self) -> int:
        """The first step at which D learns."""
        return self.joint_start + self.pair_steps

    @property
    def shares(self) -> tuple[float, float]:
        """Of the time: E's own phase, and the pair phase; 0 where there is none."""
        training = self.training
        return training.guiding_share if self.joint_start else 0.0, training.pair_share if self.pairs else 0.0

    @property
    def labelled_only_steps(self) -> int:
        """Semi-supervised: first steps on labelled images alone; in a short run no larger a share than published."""
        if self.supervision != "some":
            return 0
        return min(LABELLED_ONLY_STEPS, int(self.joint_start * (LABELLED_ONLY_STEPS / SEMI_JOINT_START)))

    @property
    def domains_start(self) -> int:
        """The first step at which the domain objective counts."""
        return round(self.training.prototypes_start * self.joint_start)

    @property
    def label_weight(self) -> float:
        """Weight of the cross-entropy on labelled images in E's loss."""
        return {"none": 0.0, "some": LABEL_WEIGHT, "all": self.recipe.supervised_label_weight}[self.supervision]

    def phase(self, step: int) -> Phase:
        """The phase of `step` (from 0)."""
        training, generator_steps = self.training, step - self.joint_start
        labelled_only = step < self.labelled_only_steps
        if generator_steps < 0:
            return Phase(
                name="guiding",
                train_guiding=True,
                train_generator=False,
                guiding_weight=1.0,
                guiding_learning_rate=training.guiding_learning_rate,
                learn_domains=step >= self.domains_start,
                labelled_only=labelled_only,
            )
        frozen = self.recipe.freeze_domains and (self.joint_start > 0 or self.recipe.pretrained)
        joint_steps = step - self.adversarial_start
        if joint_steps < 0:
            return Phase(
                name="pairs",
                train_guiding=False,
                train_generator=True,
                guiding_weight=training.guiding_weight,
                guiding_learning_rate=training.guiding_learning_rate,
                generator_steps=generator_steps,
                freeze_domains=frozen,
            )
        joint, own_phase = training.schedule == "joint", self.joint_start > 0
        warm = (joint_steps + 1) / JOINT_WARMUP if self.pair_steps else 1.0
        return Phase(
            name="joint" if joint else "separate",
            train_guiding=joint and not self.recipe.pretrained,
            train_generator=True,
            guiding_weight=training.guiding_weight,
            guiding_learning_rate=self._joint_rate(joint_steps) if own_phase else training.guiding_learning_rate,
            patch_weight=0.0 if self.pairs else _falling(training.patch_weight, training.patch_full_steps, joint_steps),
            generator_steps=generator_steps,
            joint_steps=joint_steps,
            generator_rate=min(1.0, warm),
            freeze_domains=frozen,
            labelled_only=labelled_only,
        )

    def batch_size(self, phase: Phase) -> int:
        """Images of a step of this phase."""
        alone = None if phase.train_generator else self.training.guiding_batch
        return self.training.batch if alone is None else alone

    @property
    def cycle_weight(self) -> float:
        """Weight of the cycle in G's loss; from scratch, pairs stand in for it."""
        return 0.0 if self.pairs and not self.recipe.pretrained else self.training.cycle_weight

    @property
    def pair_weight(self) -> float:
        """Weight of the L1 to pairs in the joint phase."""
        return self.training.pair_weight if self.pairs else 0.0

    def without_pairs(self) -> Plan:
        """The plan of a data set without like pictures: from scratch, patches and the cycle stand in for pairs."""
        return self.replace({"training.pair_steps": 0})

    def penalised(self, phase: Phase) -> bool:
        """Whether D's step has the gradient penalty (lazy R1)."""
        return phase.joint_steps % self.training.r1_every == 0

    def replace(self, overrides: Mapping[str, Any]) -> Plan:
        """A copy with settings of the config changed: `plan.replace({"training.steps": 100})`."""
        return dataclasses.replace(self, config=self.config.replace(overrides))

    def _joint_rate(self, joint_steps: int) -> float:
        """E's rate after so many joint steps; it falls, for the palette would grow in one direction over long runs."""
        own = self.training.joint_guiding_learning_rate
        rate = self.training.guiding_learning_rate if own is None else own
        return _falling(rate, self.training.joint_guiding_full_steps, joint_steps)


def make_plan(config: Config, dataset: Dataset, recipe: Recipe | None = None) -> Plan:
    """The plan of a run on this data set; `recipe` None is the one that the config names.

    Domains come from the labels, batch and queue are cut to the data set's size. Raises ConfigError.
    """
    count, supervision = len(dataset.indices("train")), supervision_of(dataset)
    labelled = supervision != "none"
    require(not (labelled and config.auto_domains), "domains is auto, but the labels name the domains: leave one out")
    notes = _about_validation(config, dataset)
    changes: dict[str, int] = {}
    if labelled and config.model.domains != len(dataset.label_names):
        changes["model.domains"] = len(dataset.label_names)
        notes.append(f"the labels name {len(dataset.label_names)} domains: {', '.join(dataset.label_names[:8])}")
    for name in ("batch", "guiding_batch"):
        asked = getattr(config.training, name)
        if asked is not None and asked > count:
            changes[f"training.{name}"] = count
            notes.append(f"only {count} training images: the {name.replace('_', ' ')} is {count} instead of {asked}")
    changes["training.queue"] = min(config.training.queue, max(count // 2, 1))
    config = config.replace(changes)
    notes += _about_count(config, count)
    plan = Plan.of(config, supervision, recipe)
    return dataclasses.replace(plan, notes=tuple(notes))


def supervision_of(dataset: Dataset) -> Supervision:
    """Whether none, some or all of the training images are labelled."""
    known = dataset.labels[dataset.indices("train")] >= 0
    return "all" if known.all() else "some" if known.any() else "none"


def _about_validation(config: Config, dataset: Dataset) -> list[str]:
    if not config.validate_every or len(dataset.indices("val")):
        return []
    return [f"validate_every is {config.validate_every}, but there are no validation images: no best model is kept"]


def _about_count(config: Config, count: int) -> list[str]:
    if not config.auto_domains and count < FEWEST_PER_DOMAIN * config.model.domains:
        return [
            f"{count} training images are fewer than {FEWEST_PER_DOMAIN} for each of {config.model.domains} domains: "
            "some will stay empty, details blurred or copied; fewer --domains, or auto, and more images"
        ]
    if count < FEW_IMAGES:
        return [
            f"{count} training images are few: expect domains to be found, and colours and textures to be carried "
            "over, but blurred or copied details; 500 or more images per run are advised"
        ]
    return []


def _falling(value: float, full_steps: int | None, steps: int) -> float:
    """`value` for so many steps, and from then on falling as 1 / steps."""
    return value if full_steps is None else value * min(1.0, full_steps / (steps + 1))
