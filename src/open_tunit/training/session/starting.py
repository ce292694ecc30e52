"""How a session of a run begins: anew, from a checkpoint, or with another model's weights."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from open_tunit import runs
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset, fingerprints, training_hashes
from open_tunit.device import describe, memory_for
from open_tunit.files import read_json
from open_tunit.model import TUNIT
from open_tunit.model_files.places import PARENT_UNKNOWN, TRAINING_HASHES
from open_tunit.runs import Run, training_hashes_of
from open_tunit.settings.config import Config, is_critters
from open_tunit.settings.recipes import Recipe
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.distributed.group import Group
from open_tunit.training.fitting.domain_count import with_counted_domains
from open_tunit.training.pacing.estimate import fitting, less_memory
from open_tunit.training.pacing.pace import Clock
from open_tunit.training.plan import Plan
from open_tunit.training.reports.samples import Samples, choose_samples
from open_tunit.training.session.opening import Opening, open_run
from open_tunit.training.session.reached import Reached, reached

Consent = Callable[[str], bool]
"""Gets the question whether to begin a long run; returns the answer."""


@dataclasses.dataclass(frozen=True)
class Start:
    """A run as its session finds it."""

    run: Run
    plan: Plan
    dataset: Dataset
    about_data: dict[str, Any]
    """As its model keeps it."""
    batches: Batches
    reached: Reached
    samples: Samples
    half: bool


@contextmanager
def alone(config: Config, group: Group) -> Iterator[None]:
    """A session of the run: its folder is locked, and an error of memory names the settings that help."""
    with ExitStack() as stack, enough_memory(config):
        group.first(lambda: stack.enter_context(runs.held(Path(config.out))))
        yield


def enough_memory(config: Config) -> AbstractContextManager[None]:
    """Raises MemoryError, in a line that names the settings that help, where memory does not suffice within."""
    return memory_for(f"batches of {config.training.batch} at {config.model.size} px", less_memory(config))


def start(
    config: Config,
    recipe: Recipe | None,
    device: torch.device,
    console: Console,
    clock: Clock,
    consent: Consent | None,
    group: Group,
) -> Start:
    """Open the data, resolve the plan, and begin the run or take up its newest checkpoint.

    A new run that is too long for this machine begins only if `consent`, where it is given, says so; else ValueError.
    """
    config = config.placed()
    opening = open_run(config, recipe, device, console, clock, group)
    if not opening.begun:
        group.first(lambda: _agree(opening, console, clock, consent))
    plan, dataset, batches = opening.plan, opening.dataset, opening.batches
    about = group.first(lambda: _claimed(opening, config, console))
    if config.auto_domains and not opening.begun:
        plan = with_counted_domains(plan, batches, half=opening.half, console=console, group=group)
    run = Run(Path(config.out))
    group.first(lambda: _write(run, plan, opening, console))
    so_far = reached(run, plan, device, group.first(run.latest_checkpoint) if opening.begun else None, group)
    if 0 < so_far.state.step < plan.steps:
        print_line(console, f"going on from step {so_far.state.step} of {plan.steps}")
    batches.retry = so_far.retries
    group.first(lambda: run.cut_log(so_far.state.step))
    samples = choose_samples(dataset, seed=plan.config.seed, device=device)
    return Start(run, plan, dataset, about, batches, so_far, samples, opening.half)


def _write(run: Run, plan: Plan, opening: Opening, console: Console) -> None:
    """Write config.yaml, and files.json where the images come from a folder."""
    run.write_config(plan.config)
    if opening.examination is not None:
        files = run.write_files(opening.examination, opening.findings)
        print_line(console, f"what became of each file is in {files}")


def _agree(opening: Opening, console: Console, clock: Clock, consent: Consent | None) -> None:
    """Say what would fit where the run is too long, and ask. Raises ValueError where the answer is no."""
    expected, plan = opening.estimate, opening.plan
    if expected is None or not expected.too_long:
        return
    advice = fitting(plan.config, len(opening.batches.indices), expected.device, clock)
    preset = plan.config.preset_name
    print_warning(console, f"this machine is slow for preset {preset}: {advice} fits it")
    if consent is not None and not consent(f"begin {plan.steps:,} steps of preset {preset}?"):
        raise ValueError(f"nothing was begun: take {advice}, or --preset {preset} to begin unasked")


def _claimed(opening: Opening, config: Config, console: Console) -> dict[str, Any]:
    """What the run's model keeps of its images. A new run's data.json is written, and one that is damaged.

    Images that the model it starts from was trained on count as its own.
    """
    known = read_json(Path(config.out) / runs.DATA)
    others = known.get(TRAINING_HASHES)
    if not known and config.init is not None and opening.init_hash is not None:
        others = training_hashes_of(config.init)
    about = about_data(config, opening.dataset, others or "")
    if config.init is not None and others is None:
        about[PARENT_UNKNOWN] = True
    if opening.begun and not known:
        print_warning(console, f"{runs.DATA} is damaged: whether these are the images of before is not known")
    if not (opening.begun and known):
        init = {} if opening.init_hash is None else {runs.INIT: opening.init_hash}
        runs.claim(opening.plan.config, about | init)
    return about


def about_data(config: Config, dataset: Dataset, others: str) -> dict[str, Any]:
    """What a run and its model keep of the images that it was trained on, and of `others`, known by their hashes."""
    folder = config.data.folder
    return {
        "name": folder if is_critters(folder) else Path(folder).name,
        **fingerprints(dataset),
        **{part: len(dataset.indices(part)) for part in ("train", "val", "test")},
        "unreadable": [list(row) for row in dataset.unreadable],
        TRAINING_HASHES: " ".join(sorted({*training_hashes(dataset).split(), *others.split()})),
    }


def about_model(plan: Plan, data: Mapping[str, Any], model: TUNIT, step: int, seconds: float) -> dict[str, Any]:
    """What a model folder says of its training."""
    return {
        "version": importlib.metadata.version("open-tunit"),
        "preset": plan.config.preset_name,
        "recipe": plan.recipe.name,
        "seed": plan.config.seed,
        "step": step,
        "seconds": round(seconds, 1),
        "device": describe(model.domain_styles.device),
        "supervision": plan.supervision,
        "data": runs.without_many_hashes(data),
        "domain_counts": model.domain_counts.tolist(),
    }
