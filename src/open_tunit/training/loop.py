"""train(): from a folder of images to a model folder, and on from wherever the run stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from open_tunit.card import model_card
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset
from open_tunit.data.shard_images import ShardImages
from open_tunit.model import TUNIT
from open_tunit.runs import Run
from open_tunit.settings.config import Config
from open_tunit.settings.recipes import Recipe
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.distributed.group import Group, processes
from open_tunit.training.pacing.pace import Clock
from open_tunit.training.pacing.timekeeper import Timekeeper
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.reports.alarms import Watch
from open_tunit.training.reports.snapshot import snapshot
from open_tunit.training.session.interrupts import Interrupted, Interrupts
from open_tunit.training.session.monitor import Monitor
from open_tunit.training.session.reached import Reached, reached
from open_tunit.training.session.recovery import MOST_RETRIES, keep_batch
from open_tunit.training.session.starting import Consent, Start, about_model, alone, start
from open_tunit.training.session.turns import Turns
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.graphs import Steps
from open_tunit.training.steps.methods import batch_of, make_step
from open_tunit.training.steps.state import State

Evaluator = Callable[[TUNIT, Dataset], Mapping[str, float]]
"""Figures of a model on the validation images; `score` is the one that chooses RUN/best, higher is better."""


def train(
    config: Config,
    *,
    recipe: Recipe | None = None,
    console: Console | None = None,
    evaluator: Evaluator | None = None,
    clock: Clock = time.perf_counter,
    consent: Consent | None = None,
) -> TUNIT:
    """Train, or go on training, the run in `config.out`; returns the model on the CPU.

    Reports, samples, checkpoints and the model are written as the run goes; calling it again with the same config
    resumes. Ctrl-C or SIGTERM saves a checkpoint after the step, without a report; a second one stops at once. `recipe`
    replaces the one that the config names, for experiments. `evaluator` is called once G learns, at every
    `config.validate_every`-th report, and keeps RUN/best. `clock` gives the seconds that budgets and logs count.
    `consent` is asked, with a question, before a new run that takes more than a day on a CPU; without it nobody is.
    Raises ValueError (settings, folders, images; RunInUseError where another process trains the run; no consent),
    FileNotFoundError, MemoryError, OSError (a full disk), NotFiniteError; the last good checkpoint stays. Processes
    that torchrun starts train the run together (docs/scale.md); the first one alone writes, prints and asks.
    """
    with processes() as group, group.alike_errors(NotFiniteError):
        console = group.console(console)
        device = group.each(lambda: group.device(config.device))
        with alone(config, group):
            begun = start(config, recipe, device, console, clock, consent, group)
            session = _session(begun, console, evaluator, clock, group)
            session.go_on()
            return group.first(lambda: TUNIT.from_pretrained(session.run.model_folder))


def _session(begun: Start, console: Console, evaluator: Evaluator | None, clock: Clock, group: Group) -> _Session:
    return _Session(
        group=group,
        run=begun.run,
        plan=begun.plan,
        dataset=begun.dataset,
        about_data=begun.about_data,
        batches=begun.batches,
        reached=begun.reached,
        half=begun.half,
        take=Steps.on(begun.batches.device, functools.partial(print_warning, console), group),
        monitor=Monitor(begun.run, begun.samples, console, seconds=begun.reached.seconds, clock=clock),
        watch=Watch(begun.samples.measured, begun.reached.first_domains),
        evaluator=evaluator,
        clock=clock,
    )


@dataclasses.dataclass(kw_only=True)
class _Session:
    """A run from its start or checkpoint to its end, or an interrupt."""

    group: Group
    run: Run
    plan: Plan
    dataset: Dataset
    about_data: Mapping[str, Any]
    batches: Batches
    reached: Reached
    half: bool
    take: Steps
    monitor: Monitor
    watch: Watch
    evaluator: Evaluator | None
    clock: Clock
    interrupts: Interrupts = dataclasses.field(default_factory=Interrupts)
    timekeeper: Timekeeper = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.timekeeper = Timekeeper(self.monitor.elapsed)

    @property
    def state(self) -> State:
        """As far as it came."""
        return self.reached.state

    def go_on(self) -> None:
        """Step until the budget is used up, reporting on the way. Raises Interrupted once a checkpoint is saved."""
        if self.state.step >= self.plan.steps:
            print_line(self.monitor.console, f"finished: {self.state.step} steps, {self.run.model_folder}")
            self.group.first(self._complete)
            return
        every = self.plan.report_every
        with self.monitor if self.group.leads else contextlib.nullcontext(), self.interrupts:
            while self.state.step < self.plan.steps:
                try:
                    self._step_and_report(every)
                except NotFiniteError as error:
                    self._go_back(error)
                if signal := self.group.largest(next(iter(self.interrupts.signals), 0)):
                    self.group.first(lambda: self._save_checkpoint(self.monitor.elapsed()))
                    raise Interrupted(signal)

    def _complete(self) -> None:
        """Write the model of a finished run where it is missing."""
        if self.run.model_step() != self.state.step:
            self.state.check()
            self._save()

    def _step_and_report(self, every: int) -> None:
        phase = self._one_step()
        if phase.train_generator and self._time_is_up():
            self._end_here()
        if self.state.step % every == 0 or self.state.step == self.plan.steps:
            self.state.check()
            self.reached.good_step = self.state.step
            self.monitor.damaged = self._damaged()
            self._follow(self.group.first(lambda: self._report_and_save(phase)))

    def _report_and_save(self, phase: Phase) -> Plan:
        """Returns the plan at the pace so far."""
        began = self.clock()
        self._save(phase)
        self.timekeeper.reported(self.clock() - began)
        return self.timekeeper.repaced(self.plan, phase, self.state.step)

    def _time_is_up(self) -> bool:
        if self.plan.config.minutes is None:
            return False
        return self.group.agree(self.group.leads and self.timekeeper.is_up(self.plan))

    def _damaged(self) -> dict[str, str]:
        """The samples of shards that some process could not decode, and why."""
        images: object = self.dataset.images
        own = images.damaged.copy() if isinstance(images, ShardImages) else {}  # threads that read ahead write it
        return {file: reason for of_one in self.group.gathered(own) for file, reason in of_one.items()}

    def _one_step(self) -> Phase:
        step = self.state.step
        turns = Turns(state=self.state, batches=self.batches, group=self.group, console=self.monitor.console)
        self._follow(turns.take(self.plan.phase(step), self.plan))
        phase = self.plan.phase(step)
        self.timekeeper.step_begins(phase, step)
        batch = batch_of(self.batches, phase, step, self.plan.batch_size(phase))
        try:
            terms = self.take(make_step(self.plan, self.half, self.group), self.state, batch, phase)
        except NotFiniteError as error:
            retries = self.reached.retries
            kept = self.group.first(functools.partial(keep_batch, self.run, error, batch, phase, step, retries))
            raise NotFiniteError(f"{error}; {kept}") from None
        self.monitor.step(terms, self.state.step, self.plan, phase)
        return phase

    def _go_back(self, error: NotFiniteError) -> None:
        """On from the last report, with other draws. Raises NotFiniteError where that is not asked for, or in vain."""
        run, good_step, retries = self.run, self.reached.good_step, self.reached.retries
        may = self.plan.config.on_nan == "retry" and retries < MOST_RETRIES
        checkpoint = self.group.first(lambda: run.checkpoint(good_step)) if may else None
        if not may or (checkpoint is None and good_step > 0):
            advice = "lower the learning rate and start anew"
            tried = f" after going back {retries} times" if retries else ""
            raise NotFiniteError(f"{error}{tried}; {run.folder} keeps the last good checkpoint: {advice}") from None
        told = f"going back to step {good_step}, with other draws ({retries + 1} of {MOST_RETRIES} times)"
        print_warning(self.monitor.console, f"{error}; {told}")
        self.reached = reached(run, self.plan, self.batches.device, checkpoint, self.group)
        self.reached.retries = self.batches.retry = retries + 1
        self.batches.codes = self.batches.pairs = None
        self.watch.first = self.reached.first_domains
        self.group.first(lambda: run.cut_log(good_step))
        self.monitor.went_back()
        self.timekeeper.went_back()

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
        model = self.interrupts.unless_interrupted(lambda: self._reported(phase))
        if model is None:
            return
        validation = model.about.get("validation")
        seconds = self.monitor.elapsed() if phase is not None else self.monitor.seconds
        model.about = about_model(self.plan, self.about_data, model, self.state.step, seconds) | model.about
        card = model_card(self.plan.config, model.about, model.naming.names)
        examples = self.monitor.samples.examples()
        if validation and validation["score"] > self.run.best_score(self.state.step):
            model.save_pretrained(self.run.best_folder, card=card, examples=examples)
        model.save_pretrained(self.run.model_folder, card=card, examples=examples)
        self._save_checkpoint(seconds)

    def _reported(self, phase: Phase | None) -> TUNIT:
        """The model after this step, and a report of it where it ends a step of `phase`."""
        model = snapshot(self.state, self.plan, self.dataset, self.batches, self.monitor.samples)
        validation = self._validation(model, phase)
        model.about = {"validation": validation} if validation else {}
        if phase is not None:
            alarms = self.watch.measure(model, self.plan, phase)
            self.monitor.report(model, self.state.step, self.plan, phase, alarms, validation)
        return model

    def _save_checkpoint(self, seconds: float) -> None:
        self.state.check()
        so_far = self.reached
        so_far.seconds, so_far.first_domains = seconds, self.watch.first
        self.run.save_checkpoint(so_far.checkpoint(self.plan), self.state.step, good_step=so_far.good_step)

    def _validation(self, model: TUNIT, phase: Phase | None) -> dict[str, float]:
        """The evaluator's figures at this report; none before G learns, where none are asked for, or without images."""
        every = self.plan.config.validate_every * self.plan.report_every
        possible = self.evaluator is not None and every > 0 and len(self.dataset.indices("val")) > 0
        if not possible or phase is None or not phase.train_generator:
            return {}
        due = self.state.step % every == 0 or self.state.step == self.plan.steps
        assert self.evaluator is not None
        return dict(self.evaluator(model, self.dataset)) if due else {}
