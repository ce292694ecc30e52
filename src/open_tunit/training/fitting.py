"""Settings fitted to the images at hand: domains from labels, batch and queue to the data set's size."""

from __future__ import annotations

from open_tunit.config import Config, Training
from open_tunit.data.dataset import Dataset
from open_tunit.presets import PRESETS
from open_tunit.settings import require
from open_tunit.training.schedule import Supervision

FEW_IMAGES = 500
FEWEST_PER_DOMAIN = 10
"""Training images that a domain needs at least."""
SAFER_R1 = 2.0
"""Factor on r1_weight below FEW_IMAGES: a discriminator learns a small set by heart, a stronger penalty slows it."""


def supervision_of(dataset: Dataset) -> Supervision:
    """Whether none, some or all of the training images are labelled."""
    known = dataset.labels[dataset.indices("train")] >= 0
    return "all" if known.all() else "some" if known.any() else "none"


def fit_to_data(config: Config, dataset: Dataset) -> tuple[Config, list[str]]:
    """The config that this data set allows, and a sentence for the user about each change. Raises ConfigError."""
    count = len(dataset.indices("train"))
    changes: dict[str, object] = {}
    notes: list[str] = []
    if dataset.unreadable:
        path, reason = dataset.unreadable[0]
        notes.append(f"unreadable files are left out ({len(dataset.unreadable)}), such as {path}, which {reason}")
    labelled = supervision_of(dataset) != "none"
    require(not (labelled and config.auto_domains), "domains is auto, but the labels name the domains: leave one out")
    if labelled and config.model.domains != len(dataset.label_names):
        changes["model.domains"] = len(dataset.label_names)
        notes.append(f"the labels name {len(dataset.label_names)} domains: {', '.join(dataset.label_names[:8])}")
    for name in ("batch", "guiding_batch"):
        asked = getattr(config.training, name)
        if asked is not None and asked > count:
            changes[f"training.{name}"] = count
            notes.append(f"only {count} training images: the {name.replace('_', ' ')} is {count} instead of {asked}")
    changes["training.queue"] = min(config.training.queue, max(count // 2, 1))
    if not config.auto_domains and count < FEWEST_PER_DOMAIN * config.model.domains:
        notes.append(
            f"{count} training images are fewer than {FEWEST_PER_DOMAIN} for each of {config.model.domains} domains: "
            "some will stay empty, details blurred or copied; fewer --domains, or auto, and more images"
        )
    elif count < FEW_IMAGES:
        notes.append(
            f"{count} training images are few: expect domains to be found, and colours and textures to be carried "
            "over, but blurred or copied details; 500 or more images per run are advised"
        )
    chosen = config.preset_name == "paper" or config.training.r1_weight != _preset_r1(config.preset_name)
    if count < FEW_IMAGES and not chosen:
        changes["training.r1_weight"] = config.training.r1_weight * SAFER_R1
    return config.replace(changes), notes


def _preset_r1(name: str) -> float:
    """What the preset asks for: a weight that the user (or an earlier fit) chose is kept."""
    return float(PRESETS.get(name, {}).get("training", {}).get("r1_weight", Training().r1_weight))
