"""train(): from a folder of images to a model folder, and on from wherever the run stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping

import torch
from rich.console import Console

from open_tunit.card import model_card
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset
from open_tunit.data.shard_images import ShardImages
from open_tunit.model import TUNIT
from open_tunit.networks.guides import Guide
from open_tunit.runs import Run
from open_tunit.settings.config import Config
from open_tunit.settings.recipes import Recipe
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.alarms import Watch
from open_tunit.training.budget import Clock, quickened, repaced_pairs, slowed, training_minutes
from open_tunit.training.descent import NotFiniteError
from open_tunit.training.distributed import Group, processes
from open_tunit.training.graphs import Steps
from open_tunit.training.interrupts import Interrupted, Interrupts
from open_tunit.training.methods import batch_of, make_step
from open_tunit.training.monitor import Monitor
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.pretrained import image_codes
from open_tunit.training.starting import Start, about_model, alone, start
from open_tunit.training.state import State, alter
from open_tunit.training.transitions import (
    LEAST_CONFIDENCE,
    begin_prototypes,
    frozen_codes,
    measure_statistics,
    open_palette,
    pair_table,
    settle_domains,
    settle_statistics,
)

REPORT_MARGIN = 1.5
"""How many times as long as the last report the next one may take, so that minutes are kept."""
Evaluator = Callable[[TUNIT, Dataset], Mapping[str, float]]
"""Figures of a model on the validation images; `score` is the one that chooses RUN/best, higher is better."""


def train(
    config: Config,
    *,
    recipe: Recipe | None = None,
    console: Console | None = None,
    evaluator: Evaluator | None = None,
    clock: Clock = time.perf_counter,
) -> TUNIT:
    """Train, or go on training, the run in `config.out`; returns the model on the CPU.

    Reports, samples, checkpoints and the model are written as the run goes; calling it again with the same config
    resumes. Ctrl-C or SIGTERM saves a checkpoint after the step, without a report; a second one stops at once. `recipe`
    replaces the one that the config names, for experiments. `evaluator` is called once G learns, at every
    `config.validate_every`-th report, and keeps RUN/best. `clock` gives the seconds that budgets and logs count. Raises
    ValueError (settings, folders, images; RunInUseError where another process trains the run), FileNotFoundError,
    MemoryError, OSError (a full disk), NotFiniteError; the last good checkpoint stays.
    """
    with processes() as group:
        console = console or Console() if group.leads else Console(quiet=True)
        device = group.each(lambda: group.device(config.device))
        with alone(config, group):
            session = _session(start(config, recipe, device, console, clock, group), console, evaluator, clock, group)
            session.go_on()
            return group.first(lambda: TUNIT.from_pretrained(session.run.model_folder))


def _session(begun: Start, console: Console, evaluator: Evaluator | None, clock: Clock, group: Group) -> _Session:
    return _Session(
        group=group,
        run=begun.run,
        plan=begun.plan,
        dataset=begun.dataset,
        batches=begun.batches,
        state=begun.state,
        half=begun.half,
        take=Steps.on(begun.batches.device, functools.partial(print_warning, console), group),
        monitor=Monitor(begun.run, begun.samples, console, seconds=begun.seconds, clock=clock),
        watch=Watch(begun.samples.measured, begun.first_domains),
        evaluator=evaluator,
        clock=clock,
    )


@dataclasses.dataclass(kw_only=True)
class _Session:
    """One process's share of a run."""

    group: Group
    run: Run
    plan: Plan
    dataset: Dataset
    batches: Batches
    state: State
    half: bool
    take: Steps
    monitor: Monitor
    watch: Watch
    evaluator: Evaluator | None
    clock: Clock
    interrupts: Interrupts = dataclasses.field(default_factory=Interrupts)
    report_seconds: float = 0.0
    """What the next report may take, by the last one."""
    joint_report: tuple[int, float] | None = None
    """Step and time of the last report since D learns."""
    pairs_began: tuple[int, float] | None = None
    """Step and time at which this session's pair phase began."""

    def go_on(self) -> None:
        """Step until the budget is used up, reporting on the way. Raises Interrupted once a checkpoint is saved."""
        if self.state.step >= self.plan.steps:
            print_line(self.monitor.console, f"finished: {self.state.step} steps, {self.run.model_folder}")
            self.group.first(self._complete)
            return
        every = self.plan.report_every
        with self.monitor if self.group.leads else contextlib.nullcontext(), self.interrupts:
            while self.state.step < self.plan.steps:
                phase = self._one_step()
                if phase.train_generator and self._time_is_up():
                    self._end_here()
                if self.state.step % every == 0 or self.state.step == self.plan.steps:
                    self.monitor.damaged = self._damaged()
                    self._follow(self.group.first(functools.partial(self._reported, phase)))
                if signal := self.group.largest(next(iter(self.interrupts.signals), 0)):
                    self.group.first(lambda: self._save_checkpoint(self.monitor.elapsed()))
                    raise Interrupted(signal)

    def _damaged(self) -> dict[str, str]:
        """The samples of shards that some process could not decode, and why."""
        images = self.dataset.images
        own: dict[str, str] = images.damaged if isinstance(images, ShardImages) else {}
        return {file: reason for of_one in self.group.gathered(own) for file, reason in of_one.items()}

    def _complete(self) -> None:
        """Write the model of a finished run where it is missing."""
        if self.run.model_step() != self.state.step:
            self._save()

    def _reported(self, phase: Phase) -> Plan:
        """Report and save; returns the plan by the pace so far."""
        began = self.clock()
        self._save(phase)
        self.report_seconds = REPORT_MARGIN * (self.clock() - began)
        return self._paced(phase)

    def _one_step(self) -> Phase:
        self._turn_of_phase(self.plan.phase(self.state.step))
        phase = self.plan.phase(self.state.step)
        if phase.name == "pairs" and self.pairs_began is None:
            self.pairs_began = self.state.step, self.monitor.elapsed()
        try:
            batch = batch_of(self.batches, phase, self.state.step, self.plan.batch_size(phase))
            terms = self.take(make_step(self.plan, self.half, self.group), self.state, batch, phase)
        except NotFiniteError as error:
            message = f"{error}; {self.run.folder} keeps the last good checkpoint: lower the learning rate"
            raise self.group.error(NotFiniteError(f"{message} and start anew")) from None
        self.monitor.step(terms, self.state.step, self.plan, phase)
        return phase

    def _turn_of_phase(self, phase: Phase) -> None:
        """What is done once, before the step at which the prototypes or the joint phase begin."""
        plan, seed = self.plan, self.plan.config.seed
        unlabelled = plan.supervision == "none"  # labels number the domains; clusters would number them anew
        if unlabelled and plan.training.prototypes_start > 0 and self.state.step == plan.domains_start:
            self._once(lambda: begin_prototypes(self.state, self.batches, plan))
        if plan.recipe.pretrained:
            if self.batches.codes is None:
                self._compute_codes()
        elif phase.train_generator and phase.generator_steps == 0:
            if phase.freeze_domains:
                self._once(lambda: settle_statistics(self.state, self.batches, seed))
                if unlabelled:
                    self._once(lambda: settle_domains(self.state, self.batches, plan))
            self._once(lambda: open_palette(self.state, self.batches, seed))
        if phase.name == "pairs" and self.batches.codes is None:  # in which E's codes stay the same
            codes = self.group.first(lambda: frozen_codes(self.state, self.batches))
            self.batches.codes = codes.on(self.batches.device)
        elif phase.name != "pairs" and not plan.recipe.pretrained:
            self.batches.codes = None
        if phase.train_generator and plan.pairs and self.batches.pairs is None:
            self._find_pairs()

    def _once(self, change: Callable[[], object]) -> None:
        """A change of sound weights that process 0 works out for all."""

        def checked() -> None:
            self._check_weights()
            change()

        alter(self.state, self.group, checked)

    def _compute_codes(self) -> None:
        """Where E is fitted, not trained: what it gives for each image, once a session."""
        print_line(self.monitor.console, "computing the pretrained network's features of the images")
        codes = alter(self.state, self.group, lambda: image_codes(self.state, self.batches, self.plan))
        self.batches.codes = codes.on(self.batches.device)

    def _find_pairs(self) -> None:
        """Pairs of training images, anew in each session: they follow from the frozen E and the images alone."""
        table = self.group.first(lambda: pair_table(self.state, self.batches, self.plan))
        if table.confidence >= LEAST_CONFIDENCE:
            self.batches.pairs = table
            return
        print_warning(
            self.monitor.console,
            f"the images of different domains are unlike each other (pairs count {table.confidence:.2f} of 1, at least "
            f"{LEAST_CONFIDENCE} is needed): trained without pairs",
        )
        self._follow(self.plan.without_pairs())

    def _time_is_up(self) -> bool:
        """Whether one more report would end beyond the run's minutes."""
        if self.plan.config.minutes is None:
            return False
        up = self.monitor.elapsed() + self.report_seconds > training_minutes(self.plan.config) * 60
        return bool(self.group.largest(self.group.leads and up))

    def _paced(self, phase: Phase) -> Plan:
        """The plan by the pace: fewer steps where E is slower than timed, so that G keeps its share, or more."""
        plan, step = self.plan, self.state.step
        if plan.config.minutes is None:
            return plan
        seconds, elapsed = training_minutes(plan.config) * 60, self.monitor.elapsed()
        if phase.name == "pairs":
            share = plan.training.guiding_share + plan.training.pair_share
            assert self.pairs_began is not None
            before, then = self.pairs_began
            plan = repaced_pairs(plan, step, (elapsed - then) / (step - before), seconds * share - elapsed)
        elif phase.train_generator:
            if self.joint_report is not None:
                before, then = self.joint_report
                pace = (elapsed - then) / (step - before)
                plan = quickened(plan, step, pace, seconds - elapsed - self.report_seconds)
            self.joint_report = step, elapsed
        elif plan.training.prototypes_start == 0 or not phase.learn_domains:
            plan = slowed(plan, step, elapsed, seconds * plan.training.guiding_share)
        return plan

    def _end_here(self) -> None:
        """Make the steps so far all steps of the run: the machine was slower than when they were counted out."""
        step, planned, minutes = self.state.step, self.plan.steps, self.plan.config.minutes
        if step < planned:
            told = f"{minutes:g} minutes are up at step {step} of {planned} that were planned"
            print_line(self.monitor.console, f"{told}; more --minutes go on from here")
            self._follow(self.plan.replace({"training.steps": step}))

    def _follow(self, plan: Plan) -> None:
        """Replace the plan, and config.yaml with it."""
        if plan != self.plan:
            self.plan = plan
            self.group.first(lambda: self.run.write_config(plan.config))

    def _save(self, phase: Phase | None = None) -> None:
        """Report, and write the model and a checkpoint; nothing where a signal comes before the report is done."""
        self._check_weights()
        model = self.interrupts.unless_interrupted(lambda: self._told(phase))
        if model is None:
            return
        validation = model.about.get("validation")
        seconds = self.monitor.elapsed() if phase is not None else self.monitor.seconds
        model.about = about_model(self.plan, self.dataset, model, self.state.step, seconds) | model.about
        card, examples = model_card(self.plan.config, model.about), self.monitor.samples.examples()
        if validation and validation["score"] > self.run.best_score(self.state.step):
            model.save_pretrained(self.run.best_folder, card=card, examples=examples)
        model.save_pretrained(self.run.model_folder, card=card, examples=examples)
        self._save_checkpoint(seconds)

    def _told(self, phase: Phase | None) -> TUNIT:
        """The model after this step, and a report of it where it ends a step of `phase`."""
        model = self._model()
        validation = self._validation(model, phase)
        model.about = {"validation": validation} if validation else {}
        if phase is not None:
            alarms = self.watch.measure(model, self.plan, phase)
            self.monitor.report(model, self.state.step, self.plan, phase, alarms, validation)
        return model

    def _save_checkpoint(self, seconds: float) -> None:
        self._check_weights()
        recipe = dataclasses.asdict(self.plan.recipe)
        extra = {"seconds": seconds, "first_domains": self.watch.first, "recipe": recipe}
        self.run.save_checkpoint({**self.state.state_dict(), **extra}, self.state.step)

    def _check_weights(self) -> None:
        if not self.state.is_finite():
            raise NotFiniteError(
                f"weights are not finite after step {self.state.step}; {self.run.folder} keeps the last good "
                "checkpoint: lower the learning rate and start anew"
            )

    def _validation(self, model: TUNIT, phase: Phase | None) -> dict[str, float]:
        """The evaluator's figures at this report; none before G learns, or where they are not asked for."""
        every = self.plan.config.validate_every * self.plan.report_every
        if self.evaluator is None or not every or phase is None or not phase.train_generator:
            return {}
        due = self.state.step % every == 0 or self.state.step == self.plan.steps
        return dict(self.evaluator(model, self.dataset)) if due else {}

    def _model(self) -> TUNIT:
        config = self.plan.config
        model = TUNIT(config.model, fit=config.data.fit, background=config.data.background)
        model.E.load_state_dict(self._guide().state_dict())
        model.G.load_state_dict(self.state.G_ema.state_dict())
        model.to(self.batches.device).eval()
        codes = self.batches.codes
        if codes is None:
            self.monitor.samples.measure(model)
        else:
            model.take_domain_means(codes.styles, torch.from_numpy(codes.domains))
        return model

    def _guide(self) -> Guide:
        """The averaged E with the batch-norm statistics that users get."""
        if self.plan.phase(max(self.state.step - 1, 0)).freeze_domains:
            return self.state.E_ema
        guide = self.state.guide()
        if self.plan.recipe.measure_statistics:
            measure_statistics(guide, self.batches, self.plan.config.seed)
        return guide
