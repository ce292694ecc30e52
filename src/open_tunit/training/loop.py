"""train(): from a folder of images to a model folder, and on from wherever the run stopped."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from open_tunit import runs
from open_tunit.card import model_card
from open_tunit.config import SIZES, Config
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset, is_critters, open_dataset, training_hashes
from open_tunit.device import choose_device, describe, keep_freed_memory, use_half
from open_tunit.model import TUNIT
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.places import TRAINING_HASHES
from open_tunit.training.alarms import Watch
from open_tunit.training.budget import quickened, slowed, steps_for, training_minutes
from open_tunit.training.domain_count import find_domains
from open_tunit.training.fitting import fit_to_data, supervision_of
from open_tunit.training.interrupts import interruptible
from open_tunit.training.monitor import Monitor
from open_tunit.training.samples import choose_samples
from open_tunit.training.schedule import Phase, Supervision, batch_at, joint_start, phase_at, prototypes_step
from open_tunit.training.state import State, new_state
from open_tunit.training.step import NotFiniteError, Step
from open_tunit.training.transitions import (
    begin_prototypes,
    measure_statistics,
    open_palette,
    settle_prototypes,
    settle_statistics,
)

REPORTS, FEWEST_STEPS = 30, 20
"""Reports of a run, and the steps between two at the least: a report costs as much as several steps."""
REPORT_MARGIN = 1.5
"""How many times as long as the last report the next one may take, so that minutes are kept."""
FEW_STEPS = 100
"""A run of fewer has not seen a few thousand pictures once."""
Evaluator = Callable[[TUNIT, Dataset], Mapping[str, float]]
"""Figures of a model on the validation images; `score` is the one that chooses RUN/best, higher is better."""


def train(config: Config, *, console: Console | None = None, evaluator: Evaluator | None = None) -> TUNIT:
    """Train, or go on training, the run in `config.out`; returns the model on the CPU.

    Reports, samples, checkpoints and the model are written as the run goes; calling it again with the same config
    resumes. Ctrl-C writes a checkpoint first. `evaluator` is called once G learns, at every
    `config.validate_every`-th report, and keeps RUN/best. Raises ValueError (settings, folders, images),
    FileNotFoundError, NotFiniteError (the last good checkpoint stays).
    """
    console = console or Console()
    stored = runs.stored_config(Path(config.out))
    device = choose_device(config.device)
    keep_freed_memory()
    dataset = _open(config, console)
    config, notes = fit_to_data(config, dataset)
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    session = _Session.begin(config, stored, dataset, device, console)
    session.evaluator = evaluator
    session.go_on()
    return TUNIT.from_pretrained(session.run.model_folder)


@dataclasses.dataclass
class _Session:
    """One process's share of a run."""

    run: runs.Run
    dataset: Dataset
    batches: Batches
    state: State
    step: Step
    monitor: Monitor
    watch: Watch
    evaluator: Evaluator | None = None
    report_seconds: float = 0.0
    """What the next report may take, by the last one."""
    joint_report: tuple[int, float] | None = None
    """Step and time of the last report since G learns."""

    @classmethod
    def begin(
        cls, config: Config, stored: Config | None, dataset: Dataset, device: torch.device, console: Console
    ) -> _Session:
        supervision = supervision_of(dataset)
        half = use_half(config.precision, device)
        batches = Batches(
            dataset.images,
            dataset.labels,
            dataset.indices("train"),
            seed=config.seed,
            view=config.data.views,
            device=device,
        )
        if stored is not None:
            runs.check_same_run(stored, config, dataset.fingerprint)
            run = runs.resume(runs.extended(stored, config))
        else:
            about_data = _about_data(config, dataset)
            config = _with_budget(config, batches, supervision, half, console)
            if config.auto_domains:
                runs.claim(config, about_data)
                config = find_domains(config, batches, half=half, console=console)
            run = runs.start(config, about_data)
        state = new_state(run.config, device)
        checkpoint = run.latest_checkpoint() if stored is not None else None
        seconds, first_domains = 0.0, None
        if checkpoint is not None:
            seconds, first_domains = checkpoint.pop("seconds"), checkpoint.pop("first_domains", None)
            state.load_state_dict(checkpoint)
            planned = run.config.training.steps
            if state.step < planned:
                console.print(f"going on from step {state.step} of {planned}", highlight=False)
        elif config.init is not None:
            _start_from(state, TUNIT.from_pretrained(config.init), config.init)
        run.cut_log(state.step)
        samples = choose_samples(
            dataset.images, dataset.indices("train"), dataset.indices("val"), seed=config.seed, device=device
        )
        monitor = Monitor(run, samples, console, seconds=seconds)
        watch = Watch(samples.measured, first_domains)
        return cls(run, dataset, batches, state, Step(run.config, supervision, half), monitor, watch)

    def go_on(self) -> None:
        """Step until the budget is used up, reporting on the way."""
        every = self._report_every()
        if self.state.step >= self.run.config.training.steps:
            self.monitor.console.print(
                f"finished: {self.state.step} steps, {self.run.model_folder}", highlight=False, markup=False
            )
            if not (self.run.model_folder / "config.json").exists():
                self._save()
            return
        with self.monitor, interruptible() as interrupted:
            while self.state.step < self.run.config.training.steps:
                phase = self._one_step()
                if phase.train_generator and self._time_is_up():
                    self._end_here()
                last = self.state.step == self.run.config.training.steps
                if self.state.step % every == 0 or last or interrupted.is_set():
                    began = time.perf_counter()
                    self._save(phase)
                    self.report_seconds = REPORT_MARGIN * (time.perf_counter() - began)
                    self._keep_pace(phase)
                if interrupted.is_set():
                    raise KeyboardInterrupt

    def _one_step(self) -> Phase:
        training = self.run.config.training
        phase = phase_at(self.state.step, training, self.step.supervision)
        self._turn_of_phase(phase)
        size = batch_at(phase, training)
        batch = self.batches.batch(self.state.step, size, labelled_only=phase.labelled_only)
        try:
            terms = self.step(self.state, batch, phase)
        except NotFiniteError as error:
            raise NotFiniteError(
                f"{error}; {self.run.folder} keeps the last good checkpoint: lower the learning rate and start anew"
            ) from None
        self.monitor.step(terms, self.state.step, phase.name, size)
        return phase

    def _time_is_up(self) -> bool:
        """Whether one more report would end beyond the run's minutes."""
        config = self.run.config
        if config.minutes is None:
            return False
        return self.monitor.elapsed() + self.report_seconds > training_minutes(config) * 60

    def _keep_pace(self, phase: Phase) -> None:
        """Plan anew: fewer steps where E is slower than timed, so that G keeps its share; more where time is left."""
        config, training, step = self.run.config, self.run.config.training, self.state.step
        if config.minutes is None:
            return
        seconds, elapsed = training_minutes(config) * 60, self.monitor.elapsed()
        planned = training
        if phase.train_generator:
            if self.joint_report is not None:
                before, then = self.joint_report
                pace = (elapsed - then) / (step - before)
                planned = quickened(training, step, pace, seconds - elapsed - self.report_seconds)
            self.joint_report = step, elapsed
        elif training.prototypes_start == 0 or not phase.seek_domains:
            planned = slowed(training, step, elapsed, seconds * training.guiding_share)
        if planned != training:
            self.run = self.monitor.run = runs.resume(dataclasses.replace(config, training=planned))

    def _end_here(self) -> None:
        """Make the steps so far all steps of the run: the machine was slower than when they were counted out."""
        planned, step = self.run.config.training.steps, self.state.step
        if step == planned:
            return
        self.monitor.console.print(
            f"{self.run.config.minutes:g} minutes are up at step {step} of {planned} that were planned; "
            "more --minutes go on from here",
            highlight=False,
            soft_wrap=True,
        )
        self.run = self.monitor.run = runs.resume(self.run.config.replace({"training.steps": step}))

    def _turn_of_phase(self, phase: Phase) -> None:
        """What is done once, before the step at which the prototypes or the joint phase begin."""
        config, supervision, step = self.run.config, self.step.supervision, self.state.step
        training = config.training
        unlabelled = supervision == "none"  # labels number the domains; k-means would number them anew
        if unlabelled and training.prototypes_start > 0 and step == prototypes_step(training, supervision):
            self._check_weights()
            begin_prototypes(self.state, self.batches, config)
        if phase.train_generator and phase.generator_steps == 0:
            self._check_weights()
            if phase.hold_domains:
                settle_statistics(self.state, self.batches, config.seed)
                if unlabelled:
                    settle_prototypes(self.state, self.batches, config)
            open_palette(self.state, self.batches, config.seed)

    def _save(self, phase: Phase | None = None) -> None:
        self._check_weights()
        model = self._model()
        validation = self._validation(model, phase)
        if phase is not None:
            alarms = self.watch.measure(model, self.run.config, phase, self.step.supervision)
            self.monitor.report(model, self.state.step, phase.name, alarms, validation)
        seconds = self.monitor.elapsed() if phase is not None else self.monitor.seconds
        model.about = self._about(seconds, model)
        if validation:
            model.about["validation"] = validation
        card, examples = model_card(self.run.config, model.about), self.monitor.samples.examples()
        if validation and validation["score"] > self.run.best_score(self.state.step):
            model.save_pretrained(self.run.best_folder, card=card, examples=examples)
        model.save_pretrained(self.run.model_folder, card=card, examples=examples)
        extra = {"seconds": seconds, "first_domains": self.watch.first}
        self.run.save_checkpoint({**self.state.state_dict(), **extra}, self.state.step)

    def _check_weights(self) -> None:
        if not self.state.is_finite():
            raise NotFiniteError(
                f"weights are not finite after step {self.state.step}; {self.run.folder} keeps the last good "
                "checkpoint: lower the learning rate and start anew"
            )

    def _validation(self, model: TUNIT, phase: Phase | None) -> dict[str, float]:
        """What the evaluator says at this report; nothing before G learns, or where it is not asked."""
        every = self.run.config.validate_every * self._report_every()
        if self.evaluator is None or not every or phase is None or not phase.train_generator:
            return {}
        due = self.state.step % every == 0 or self.state.step == self.run.config.training.steps
        return dict(self.evaluator(model, self.dataset)) if due else {}

    def _report_every(self) -> int:
        return self.run.config.report_every or max(FEWEST_STEPS, self.run.config.training.steps // REPORTS)

    def _model(self) -> TUNIT:
        data = self.run.config.data
        model = TUNIT(self.run.config.model, fit=data.fit, background=data.background)
        model.E.load_state_dict(self._guide().state_dict())
        model.G.load_state_dict(self.state.G_ema.state_dict())
        model.to(self.batches.device).eval()
        self.monitor.samples.measure(model)
        return model

    def _guide(self) -> GuidingNetwork:
        """The averaged E with the batch-norm statistics that users get."""
        config = self.run.config
        last = phase_at(max(self.state.step - 1, 0), config.training, self.step.supervision)
        if last.hold_domains:
            return self.state.E_ema
        guide = self.state.guide()
        if config.training.measure_statistics:
            measure_statistics(guide, self.batches, config.seed)
        return guide

    def _about(self, seconds: float, model: TUNIT) -> dict[str, Any]:
        return {
            "version": importlib.metadata.version("open-tunit"),
            "preset": self.run.config.preset_name,
            "seed": self.run.config.seed,
            "step": self.state.step,
            "seconds": round(seconds, 1),
            "device": describe(self.batches.device),
            "supervision": self.step.supervision,
            "data": runs.without_many_hashes(_about_data(self.run.config, self.dataset)),
            "domain_counts": model.domain_counts.tolist(),
        }


def _open(config: Config, console: Console) -> Dataset:
    def progress(done: int, total: int) -> None:
        if done == total or done % 2000 == 0:
            console.print(f"reading images: {done}/{total}", highlight=False)

    return open_dataset(config.data, size=config.model.size, seed=config.seed, cache=config.cache, progress=progress)


def _with_budget(config: Config, batches: Batches, supervision: Supervision, half: bool, console: Console) -> Config:
    if config.minutes is not None:
        minutes = training_minutes(config)
        console.print("timing a few steps, to turn minutes into steps", highlight=False)
        fitted = steps_for(config.replace({"minutes": minutes}), batches, supervision, half=half)
        if fitted.training.steps < FEW_STEPS:
            console.print(
                f"note: --minutes {config.minutes:g} makes {fitted.training.steps} steps on this machine, too few to "
                f"learn from: more --minutes{', or a smaller --size' if config.model.size > SIZES[0] else ''}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        return fitted.replace({"minutes": config.minutes})
    return config.replace({"training.joint_start": joint_start(config.training, supervision)})


def _about_data(config: Config, dataset: Dataset) -> dict[str, Any]:
    folder = config.data.folder
    return {
        "name": folder if is_critters(folder) else Path(folder).name,
        "fingerprint": dataset.fingerprint,
        **{part: len(dataset.indices(part)) for part in ("train", "val", "test")},
        "unreadable": [list(row) for row in dataset.unreadable],
        TRAINING_HASHES: training_hashes(dataset),
    }


def _start_from(state: State, model: TUNIT, name: str) -> None:
    """Fine-tuning: E and G begin as another model's; a head for another number of domains begins anew."""
    heads = ("domain_head.", "shape_head.")
    guiding, fresh = model.E.state_dict(), state.E.state_dict()
    for name_ in {key for key in (*guiding, *fresh) if key.startswith(heads)}:
        if name_ not in fresh:
            del guiding[name_]
        elif name_ not in guiding or guiding[name_].shape != fresh[name_].shape:
            guiding[name_] = fresh[name_]
    try:
        for network, values in (
            *((E, guiding) for E in (state.E, state.E_ema)),
            *((G, model.G.state_dict()) for G in (state.G, state.G_ema)),
        ):
            network.load_state_dict(values)
    except RuntimeError as error:
        raise ValueError(f"{name} has networks of other shapes than this run: give its preset and size") from error
