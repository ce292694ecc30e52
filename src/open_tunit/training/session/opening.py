"""A run before anything of it is written: its images, its plan, and how long it will take here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from open_tunit import runs
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset, for_training, open_dataset
from open_tunit.data.doctor import Examination, Finding, by_reason, examined, findings
from open_tunit.data.scan import FILE_MANAGERS, NO_PICTURE, check_outside, content_hash
from open_tunit.device import use_half
from open_tunit.model_files.places import WEIGHTS, model_folder
from open_tunit.runs import Run
from open_tunit.settings.config import SIZES, Config, is_critters
from open_tunit.settings.recipes import RECIPES, Recipe
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.distributed.group import Group
from open_tunit.training.pacing.budget import FEW_STEPS, fitted_to_minutes
from open_tunit.training.pacing.estimate import Estimate, estimate
from open_tunit.training.pacing.pace import Clock
from open_tunit.training.plan import Plan, make_plan
from open_tunit.training.session.alike import check_alike
from open_tunit.training.session.same_run import check_same_run, extended
from open_tunit.training.session.set_sizes import comparison
from open_tunit.training.steps.state import check_weights

MOST_TOLD = 12
"""Lines on the files of the folder that a session begins with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """A run as it would begin, or go on."""

    begun: bool
    """Whether its folder holds the run already."""
    plan: Plan
    """With its steps counted out."""
    dataset: Dataset
    batches: Batches
    half: bool
    init_hash: str | None
    """SHA-256 of the weights that it starts from; None where it starts from none, or they are not here any more."""
    examination: Examination | None
    """Of the folder's files; None for the built-in set, for shards, and in processes that do not lead."""
    findings: Sequence[Finding]
    estimate: Estimate | None
    """Of what is left; None where nothing is."""


def open_run(
    config: Config, recipe: Recipe | None, device: torch.device, console: Console, clock: Clock, group: Group
) -> Opening:
    """Open the data, resolve the plan, and time a few steps; prints what the user should know, and the estimate.

    Raises ValueError for a pretrained network that is not installed, what reading images and settings raises,
    DifferentRunError where the folder holds another run, ValueError where the processes of `group` differ in images,
    settings or code, and what steps raise.
    """
    group.each(lambda: check_weights(recipe or RECIPES[config.recipe]))
    stored = group.first(lambda: runs.stored_config(Path(config.out)))
    if stored is None and not is_critters(config.data.folder):
        group.first(lambda: check_outside(config.out, config.data.folder))
    dataset = group.once_per_machine(lambda: _open(config, console))
    examination, found = _examined(dataset, config, group)
    _tell(found, console)
    plan, half = group.each(lambda: (make_plan(config, dataset, recipe), use_half(config.precision, device)))
    for note in plan.notes:
        print_warning(console, note)
    quoted = comparison(plan.recipe.name, len(dataset.indices("train")))
    if stored is None and examination is not None and quoted is not None:
        print_line(console, quoted)
    check_alike(plan, dataset, half, group)
    batches = Batches(
        dataset.images,
        dataset.labels,
        dataset.indices("train"),
        seed=config.seed,
        view=plan.views,
        device=device,
        rows=group.rows,
    )
    init_hash, done, spent = group.first(lambda: _hash_of_weights(config.init)), 0, 0.0
    if stored is not None:
        group.first(lambda: check_same_run(stored, plan.config, dataset, init_hash))
        plan = dataclasses.replace(plan, config=extended(dataclasses.replace(plan, config=stored), plan.config))
        done, spent = group.first(Run(Path(config.out)).progress)
    else:
        plan = _counted_out(plan, batches, half, console, clock, group)
    expected = None
    if done < plan.steps:
        if plan.config.minutes is None:
            print_line(console, "timing a few steps")
        expected = estimate(plan, batches, done=done, spent=spent, half=half, clock=clock, group=group)
        print_line(console, f"estimated {expected.time()}")
    return Opening(
        begun=stored is not None,
        plan=plan,
        dataset=dataset,
        batches=batches,
        half=half,
        init_hash=init_hash,
        examination=examination,
        findings=found,
        estimate=expected,
    )


def _examined(dataset: Dataset, config: Config, group: Group) -> tuple[Examination | None, Sequence[Finding]]:
    """What reading the files showed, and what is to be told of it, by the process that leads."""
    examination = examined(dataset, config.data.folder) if group.leads else None
    return examination, by_reason("left out", dataset.unreadable) if examination is None else findings(examination)


def _open(config: Config, console: Console) -> Dataset:
    def progress(done: int, total: int) -> None:
        if done == total or done % 2000 == 0:
            print_line(console, f"reading images: {done}/{total}")

    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed, cache=config.cache, progress=progress)
    dataset, empty = for_training(dataset)
    if empty:
        print_warning(console, f"labels without a training picture that can be read are no domains: {', '.join(empty)}")
    return dataset


def _tell(found: Sequence[Finding], console: Console) -> None:
    """Lines on the folder's files, at most MOST_TOLD; what belongs to no picture is left to `tunit doctor`."""
    telling = [finding for finding in found if finding.what not in (NO_PICTURE, FILE_MANAGERS)]
    for finding in telling[:MOST_TOLD]:
        tell = print_warning if finding.use == "left out" else print_line
        tell(console, finding.line())
    if len(telling) > MOST_TOLD:
        print_line(console, f"and {len(telling) - MOST_TOLD} more kinds of findings, which tunit doctor shows")


def _counted_out(plan: Plan, batches: Batches, half: bool, console: Console, clock: Clock, group: Group) -> Plan:
    """A new run's plan with its steps."""
    if plan.config.minutes is None:
        starts = {"training.joint_start": plan.joint_start}
        if plan.pairs and plan.training.pair_steps is None:
            starts["training.pair_steps"] = max(1, plan.pair_steps)
        return plan.replace(starts)
    print_line(console, "timing a few steps, to turn minutes into steps")
    plan = fitted_to_minutes(plan, batches, half=half, clock=clock, group=group)
    if plan.steps < FEW_STEPS:
        smaller = ", or a smaller --size" if plan.config.model.size > SIZES[0] else ""
        print_warning(
            console,
            f"--minutes {plan.config.minutes:g} makes {plan.steps} steps on this machine, too few to learn from: "
            f"more --minutes{smaller}",
        )
    return plan


def _hash_of_weights(init: str | None) -> str | None:
    try:
        return None if init is None else content_hash(model_folder(init) / WEIGHTS)
    except FileNotFoundError:
        return None
