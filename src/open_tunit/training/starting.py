"""How a session of a run begins: anew, from a checkpoint, or with another model's weights."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import open_tunit
from open_tunit import runs
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset, fingerprints, is_critters, open_dataset, training_hashes
from open_tunit.data.scan import content_hash
from open_tunit.device import describe, memory_for, use_half
from open_tunit.files import read_json
from open_tunit.model import TUNIT
from open_tunit.model_files.places import TRAINING_HASHES, WEIGHTS, model_folder
from open_tunit.runs import Run
from open_tunit.settings.config import SIZES, Config
from open_tunit.settings.recipes import Recipe
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.budget import FEW_STEPS, Clock, fitted_to_minutes
from open_tunit.training.distributed import Group
from open_tunit.training.domain_count import find_domains
from open_tunit.training.plan import Plan, make_plan
from open_tunit.training.samples import Samples, choose_samples
from open_tunit.training.state import State, alter, new_state


@dataclasses.dataclass(frozen=True)
class Start:
    """A run as its session finds it."""

    run: Run
    plan: Plan
    dataset: Dataset
    batches: Batches
    state: State
    samples: Samples
    seconds: float
    """Of training before this session."""
    first_domains: list[int] | None
    """The domains of the watched images when the domains began (alarms.Watch)."""
    half: bool


@contextmanager
def alone(config: Config, group: Group) -> Iterator[None]:
    """A session of the run: its folder is locked, and an error of memory names the settings that help."""
    work = f"batches of {config.training.batch} at {config.model.size} px"
    with ExitStack() as stack, memory_for(work, "lower either, by --set training.batch=N or --size N"):
        group.first(lambda: stack.enter_context(runs.held(Path(config.out))))
        yield


def start(
    config: Config, recipe: Recipe | None, device: torch.device, console: Console, clock: Clock, group: Group
) -> Start:
    """Open the data, resolve the plan, and begin the run or take up its newest checkpoint."""
    config = config.placed()
    out = Path(config.out)
    stored = group.first(lambda: runs.stored_config(out))
    dataset = group.once_per_machine(lambda: _open(config, console))
    plan = group.each(lambda: make_plan(config, dataset, recipe))
    for note in plan.notes:
        print_warning(console, note)
    train, half = dataset.indices("train"), use_half(config.precision, device)
    _check_alike(plan, dataset, half, group)
    batches = Batches(
        dataset.images, dataset.labels, train, seed=config.seed, view=plan.views, device=device, rows=group.rows
    )
    first = group.first(lambda: _first_weights(config.init))
    about = about_data(config, dataset) | first
    if stored is not None:
        plan = dataclasses.replace(plan, config=group.first(lambda: _taken_up(stored, plan, dataset, about, console)))
    else:
        plan = _resolved(plan, batches, about, half, console, clock, group)
    run = Run(out)
    group.first(lambda: run.write_config(plan.config))
    state = new_state(plan, device)
    checkpoint = group.first(lambda: _checkpoint(run, plan)) if stored is not None else None
    seconds, first_domains = 0.0, None
    if checkpoint is not None:
        seconds, first_domains = checkpoint.pop("seconds"), checkpoint.pop("first_domains", None)
        state.load_state_dict(checkpoint)
        if state.step < plan.steps:
            print_line(console, f"going on from step {state.step} of {plan.steps}")
    else:
        alter(state, group, lambda: _take_weights(state, config.init))
    group.first(lambda: run.cut_log(state.step))
    val = dataset.indices("val")
    samples = choose_samples(dataset.images, train, val, seed=plan.config.seed, device=device)
    return Start(run, plan, dataset, batches, state, samples, seconds, first_domains, half)


def _check_alike(plan: Plan, dataset: Dataset, half: bool, group: Group) -> None:
    """Raise ValueError where processes would train different runs, or one would have no image of a batch."""
    smallest = min(plan.training.batch, plan.training.guiding_batch or plan.training.batch)
    if group.size > smallest:
        message = f"batches of {smallest} images cannot be divided among {group.size} processes; start fewer"
        raise group.error(ValueError(f"{message}, or --set training.batch=N"))
    settings = plan.config.to_dict()
    del settings["device"], settings["cache"], settings["data"]["folder"], settings["data"]["labels"]
    group.alike(
        {
            "version of open-tunit": _code(),
            "images": dataset.fingerprint,
            "labels": dataset.labels_fingerprint,
            "settings": settings,
            "precision (--set precision=float32 is everywhere)": half,
        }
    )


def _code() -> str:
    """SHA-256 of this package's files."""
    root = Path(open_tunit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _taken_up(stored: Config, plan: Plan, dataset: Dataset, about: Mapping[str, Any], console: Console) -> Config:
    """The config of a run that goes on."""
    runs.check_same_run(stored, plan.config, dataset, about.get(runs.INIT))
    extended = runs.extended(stored, plan.config)
    if not read_json(Path(extended.out) / runs.DATA):
        print_warning(console, f"{runs.DATA} is damaged: whether these are the images of before is not known")
        runs.claim(extended, about)
    return extended


def _checkpoint(run: Run, plan: Plan) -> dict[str, Any] | None:
    checkpoint = run.latest_checkpoint()
    if checkpoint is not None:
        runs.check_same_recipe(checkpoint.pop("recipe", None), plan.recipe, run.folder)
    return checkpoint


def about_data(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What a run and its model keep of the images that it was trained on."""
    folder = config.data.folder
    return {
        "name": folder if is_critters(folder) else Path(folder).name,
        **fingerprints(dataset),
        **{part: len(dataset.indices(part)) for part in ("train", "val", "test")},
        "unreadable": [list(row) for row in dataset.unreadable],
        TRAINING_HASHES: training_hashes(dataset),
    }


def about_model(plan: Plan, dataset: Dataset, model: TUNIT, step: int, seconds: float) -> dict[str, Any]:
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
        "data": runs.without_many_hashes(about_data(plan.config, dataset)),
        "domain_counts": model.domain_counts.tolist(),
    }


def _open(config: Config, console: Console) -> Dataset:
    def progress(done: int, total: int) -> None:
        if done == total or done % 2000 == 0:
            print_line(console, f"reading images: {done}/{total}")

    return open_dataset(config.data, size=config.model.size, seed=config.seed, cache=config.cache, progress=progress)


def _resolved(
    plan: Plan, batches: Batches, about: Mapping[str, Any], half: bool, console: Console, clock: Clock, group: Group
) -> Plan:
    """A new run's plan with its steps counted out, and the number of domains where it is to be found."""
    if plan.config.minutes is None:
        starts = {"training.joint_start": plan.joint_start}
        if plan.pairs and plan.training.pair_steps is None:
            starts["training.pair_steps"] = max(1, plan.pair_steps)
        plan = plan.replace(starts)
    else:
        print_line(console, "timing a few steps, to turn minutes into steps")
        plan = fitted_to_minutes(plan, batches, half=half, clock=clock, group=group)
        if plan.steps < FEW_STEPS:
            smaller = ", or a smaller --size" if plan.config.model.size > SIZES[0] else ""
            print_warning(
                console,
                f"--minutes {plan.config.minutes:g} makes {plan.steps} steps on this machine, too few to learn from: "
                f"more --minutes{smaller}",
            )
    group.first(lambda: runs.claim(plan.config, about))
    if not plan.config.auto_domains:
        return plan
    return find_domains(plan, batches, half=half, console=console, group=group)


def _first_weights(init: str | None) -> dict[str, str]:
    """The hash of the weights that a run starts from, for its data.json; none where they are not here any more."""
    try:
        return {} if init is None else {runs.INIT: content_hash(model_folder(init) / WEIGHTS)}
    except FileNotFoundError:
        return {}


def _take_weights(state: State, name: str | None) -> None:
    """Fine-tuning: E and G begin as another model's; a head for another number of domains begins anew."""
    if name is None:
        return
    model = TUNIT.from_pretrained(name)
    heads = ("domain_head.", "shape_head.")
    guiding, fresh = model.E.state_dict(), state.E.state_dict()
    for key in {key for key in (*guiding, *fresh) if key.startswith(heads)}:
        if key not in fresh:
            del guiding[key]
        elif key not in guiding or guiding[key].shape != fresh[key].shape:
            guiding[key] = fresh[key]
    try:
        for network, values in (
            *((E, guiding) for E in (state.E, state.E_ema)),
            *((G, model.G.state_dict()) for G in (state.G, state.G_ema)),
        ):
            network.load_state_dict(values)
    except RuntimeError as error:
        raise ValueError(f"{name} has networks of other shapes than this run: give its preset and size") from error
