"""`tunit distil`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from open_tunit.model_files.places import EXAMPLES, WEIGHTS, model_folder

if TYPE_CHECKING:
    from open_tunit.data.dataset import Dataset
    from open_tunit.model import TUNIT

LEAST_AGREEMENT, LEAST_R_SQUARED = 0.9, 0.5
"""Of a small model that still stands for the first one."""


def distil(
    model: Path,
    out: Path,
    data: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Make a smaller, faster model of one of preset photos: a small guiding network replaces the pretrained one.

    Args:
        model: Run, or model folder such as RUN/model, or a hub id.
        out: New folder for the model.
        data: Folder of images to train on, those that the model was trained on; a run's own where model is a run.
        minutes: Time budget, in which as many steps as fit are taken (4).
        steps: Number of steps, in place of minutes.
        seed: Random seed.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if minutes is not None and steps is not None:
        raise ValueError("distil takes --minutes or --steps, not both")
    for name, value in (("minutes", minutes), ("steps", steps)):
        if value is not None and not value > 0:
            raise ValueError(f"--{name} is {value:g}; it must be above 0")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ValueError(f"{out} exists already and is not an empty folder; name another")
    from open_tunit.card import Publication, published_card
    from open_tunit.cli.models import open_model
    from open_tunit.data.scan import check_outside, scan
    from open_tunit.device import keep_freed_memory
    from open_tunit.media.images import read_image
    from open_tunit.training.distillation import distil as run

    check_outside(out, data)
    keep_freed_memory()
    network = open_model(model, device)
    small = run(network, _dataset(network, model, data), steps=steps, minutes=minutes, seed=seed)
    folder = model_folder(model)
    card = published_card(small.config, small.about, Publication())
    pictures = folder / EXAMPLES
    examples = [read_image(pictures / name) for name in scan(pictures)] if pictures.is_dir() else []
    small.save_pretrained(out, card=card, examples=examples)
    lost = small.about["distilled"]
    kind = "held-out images" if lost["part"] == "held out" else "training images (none are held out)"
    print(
        f"on {lost['images']} {kind}: {lost['domain_agreement']:.1%} stay in their domain; AdaIN's numbers have an "
        f"R squared of {lost['adain_r_squared']:.3f}; translations differ by {lost['translation_difference']:.1f} "
        "of 255 levels in the mean"
    )
    if lost["domain_agreement"] < LEAST_AGREEMENT or lost["adain_r_squared"] < LEAST_R_SQUARED:
        print(
            "warning: the small model draws other styles than the first one; --minutes give it more time to learn them"
        )
    before, after = ((place / WEIGHTS).stat().st_size / 1e6 for place in (folder, out))
    print(f"model: {out}   weights: {after:.1f} MB, before {before:.1f} MB")


def _dataset(network: TUNIT, model: Path, data: str | None) -> Dataset:
    """The images of the folder, or of the run's own; parted as the run did."""
    from open_tunit import runs
    from open_tunit.data.dataset import open_dataset
    from open_tunit.settings.config import Data

    config = runs.stored_config(model) if (model / runs.CONFIG).is_file() else None
    if config is not None:
        given = config.data if data is None else config.replace({"data.folder": data, "data.labels": None}).data
        return open_dataset(given, size=network.config.size, seed=config.seed, cache=config.cache)
    if data is None:
        raise ValueError(f"{model} is not a run; name the images that it was trained on with --data FOLDER")
    given = Data(folder=data, fit=network.fit, background=network.background)
    return open_dataset(given, size=network.config.size, seed=network.about.get("seed") or 0)
