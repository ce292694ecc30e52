"""Settings fitted to the images at hand: domains from labels, batch and queue to the data set's size."""

from __future__ import annotations

from open_tunit.config import Config
from open_tunit.data.dataset import Dataset
from open_tunit.training.schedule import Supervision

FEW_IMAGES = 500
SAFER_R1 = 2.0
"""Factor on r1_weight below FEW_IMAGES: a discriminator learns a small set by heart, a stronger penalty slows it."""


def supervision_of(dataset: Dataset) -> Supervision:
    """Whether none, some or all of the training images are labelled."""
    known = dataset.labels[dataset.indices("train")] >= 0
    return "all" if known.all() else "some" if known.any() else "none"


def fit_to_data(config: Config, dataset: Dataset) -> tuple[Config, list[str]]:
    """The config that this data set allows, and a sentence for the user about each change."""
    count = len(dataset.indices("train"))
    changes: dict[str, object] = {}
    notes: list[str] = []
    if dataset.unreadable:
        path, reason = dataset.unreadable[0]
        notes.append(f"{len(dataset.unreadable)} unreadable files are left out, such as {path}: {reason}")
    if supervision_of(dataset) != "none" and config.model.domains != len(dataset.label_names):
        changes["model.domains"] = len(dataset.label_names)
        notes.append(f"the labels name {len(dataset.label_names)} domains: {', '.join(dataset.label_names[:8])}")
    if config.training.batch > count:
        changes["training.batch"] = count
        notes.append(f"only {count} training images: the batch is {count} instead of {config.training.batch}")
    changes["training.queue"] = min(config.training.queue, max(count // 2, 1))
    if count < FEW_IMAGES:
        notes.append(
            f"{count} training images are few: expect domains to be found, and colours and textures to be carried "
            "over, but blurred or copied details; 500 or more images per run are advised"
        )
        if config.preset_name != "paper":
            changes["training.r1_weight"] = config.training.r1_weight * SAFER_R1
    return config.replace(changes), notes
