"""What is measured on which images: evaluate(), and the figures of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.cache import default_cache_root
from open_tunit.data.dataset import Dataset, open_dataset, same_images, trained_on
from open_tunit.data.doctor import by_reason
from open_tunit.evaluation.features.extractors import FeatureNetwork, open_features
from open_tunit.evaluation.features.feature_cache import real_features
from open_tunit.evaluation.figures import (
    INTERVALS,
    LEAST_PER_DOMAIN,
    SCORE,
    Figures,
    add_feature_figures,
    add_label_figures,
    add_own_figures,
    add_sampled_distance,
    names_of,
)
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.label_probe import add_label_probe
from open_tunit.evaluation.sampled import sampled_diversities, sampled_translations
from open_tunit.evaluation.selection import Part, Selection, describe_selection, select_pairs
from open_tunit.evaluation.translations import (
    DIVERSE_REFERENCES,
    DIVERSE_SOURCES,
    Encoded,
    NearestTraining,
    Translations,
    diversities,
    encode_images,
    nearest_training_images,
    translate_pairs,
)
from open_tunit.metrics.neighbours import NEIGHBOURS
from open_tunit.model import TUNIT
from open_tunit.model_files.places import PARENT_UNKNOWN, TRAINING_HASHES
from open_tunit.settings.config import Data, is_critters

PROTOCOL_VERSION = 2
FOREIGN = "this is not the data set that the model was trained on: nearest training images are not searched"
UNSEEN = "if the model was trained on none of these images, --part all measures all"
UNKNOWN = "which images this model was trained on is not stored with it, so these images are not called held out"
FEW_MEASURED = 50
"""Images below which a warning goes with the figures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Settings of an evaluation, beside the data."""

    part: Part = "test"
    pairs: int | None = None
    """Translations; None = each image a source up to four times, 2,000 in all."""
    features: str | None = None
    """own (E; None), inception, or the file of a network."""
    features_side: int | None = None
    features_range: str = "0..255"
    cache: str | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures, and what they were taken from."""

    figures: dict[str, Any]
    model: TUNIT
    dataset: Dataset
    selection: Selection
    encoded: Encoded
    made: Translations
    nearest_training: NearestTraining | None
    answers: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
    """Sources, references, translations and true answers (N, 3, S, S), where they are known."""


def evaluate(
    model: TUNIT, data: str, labels: str | None = None, *, seed: int = 0, asked: Asked | None = None
) -> dict[str, Any]:
    """Figures of a model on the held-out (test) images of a folder, or on critters with their true answers.

    `labels` is None, `folders` or a CSV file; `seed` draws the pairs (and the critters). Returns name -> figure, with
    `intervals`, `protocol` and `notes` (warnings, as of too few images) beside them. Raises what opening the
    data and the feature network raises.
    """
    asked = asked or Asked()
    given = Data(folder=data, labels=labels, fit=model.fit, background=model.background)
    return measure(model, given, seed=seed, asked=asked).figures


def measure(model: TUNIT, data: Data, *, seed: int, asked: Asked, trained: str | None = None) -> Evaluation:
    """Everything about a model on `data`. Critters bring their labels and true answers.

    `trained` are the hashes of the images that it was trained on, where they are too many for the model's own files.
    """
    critters = is_critters(data.folder)
    known = dataclasses.replace(data, labels="folders" if critters else data.labels, label_fraction=1.0)
    cache_root = default_cache_root() if asked.cache is None else Path(asked.cache).expanduser()
    network = open_features(
        asked.features, model, cache_root=cache_root, side=asked.features_side, pixel_range=asked.features_range
    )
    dataset = open_dataset(known, size=model.config.size, seed=seed, cache=asked.cache)
    selection = select_pairs(dataset, part=asked.part, pairs=asked.pairs, seed=seed)
    encoded = encode_images(model, dataset, selection)
    made = translate_pairs(model, dataset, selection, encoded, network)
    labels = dataset.labels[selection.images]
    groups = labels if (labels >= 0).any() else encoded.domains
    figures = Figures(seed)
    _add_images(figures, model, dataset, selection, trained)
    figures.notes += [finding.line() for finding in by_reason("left out", dataset.unreadable)]
    if len(selection.images) < FEW_MEASURED:
        count = len(selection.images)
        figures.notes.append(f"only {count} image{'s' * (count != 1)} measured: figures of so few are uncertain")
    add_own_figures(figures, encoded, made, selection, model.config.domains)
    add_label_figures(figures, encoded, labels)
    nearest_training = _on_features(figures, model, dataset, selection, network, encoded, made, groups, cache_root)
    protocol = _protocol(data, dataset, selection, network, by_label=bool((labels >= 0).any()))
    answers = None
    if critters:
        true, pairs, translations = truth.measure(model, data.folder, seed=seed, cache_root=cache_root)
        figures.intervals |= true.pop("intervals")
        figures.values |= true
        protocol["true_answers"] = truth.PROTOCOL
        answers = (pairs.source, pairs.reference, translations, pairs.answer)
    values = figures.values | {"intervals": figures.intervals, "notes": figures.notes, "protocol": protocol}
    return Evaluation(values, model, dataset, selection, encoded, made, nearest_training, answers)


def _add_images(figures: Figures, model: TUNIT, dataset: Dataset, selection: Selection, trained: str | None) -> None:
    """How many images are measured, how many of them the model was trained on, and whether they are held out.

    Held out are images of a test or validation part of which the model was trained on none. Where the hashes of the
    training images are not known, the split decides for the run's own data set; those of other sets are not called so.
    """
    known = model.about.get("data", {}).get(TRAINING_HASHES, trained)
    count = len(selection.images)
    shared = None if known is None else trained_on(known, dataset, selection.images)
    apart = shared == 0 if shared is not None else _is_own(model, dataset)
    held_out = selection.part in ("test", "val") and apart
    name = "held_out_images" if held_out else "measured_images"
    figures.values |= {"held_out": held_out, name: count, "trained_on_images": shared}
    if shared:
        figures.notes.append(f"the model was trained on {shared} of the {count} measured images: they are not held out")
    elif shared is None and not apart:
        figures.notes.append(UNKNOWN)
    elif selection.part == "train":
        figures.notes.append("these images are of the training part: they are not held out")
    if model.about.get("data", {}).get(PARENT_UNKNOWN):
        figures.notes.append("the model was begun with another one, whose training images are not known")


def _is_own(model: TUNIT, dataset: Dataset) -> bool:
    """Whether the model is known to have been trained on this very data set."""
    return same_images(model.about.get("data", {}), dataset)


def _is_foreign(model: TUNIT, dataset: Dataset) -> bool:
    """Whether the model is known to have been trained on other images than these."""
    return "fingerprint" in model.about.get("data", {}) and not _is_own(model, dataset)


def _on_features(
    figures: Figures,
    model: TUNIT,
    dataset: Dataset,
    selection: Selection,
    network: FeatureNetwork,
    encoded: Encoded,
    made: Translations,
    groups: NDArray[np.int64],
    cache_root: Path,
) -> NearestTraining | None:
    """The figures in feature space."""
    assert made.features is not None
    real = real_features(network, dataset, selection.images, cache_root)
    fake, name = made.features, names_of(network)
    add_feature_figures(figures, network, real, fake, selection, groups)

    def diverse() -> None:
        translated, given = diversities(model, dataset, selection, encoded, network, real)
        figures.mean(name("diversity"), translated.numpy())
        figures.mean(name("diversity") + "_of_references", given.numpy())

    def sampled() -> None:
        add_sampled_distance(
            figures, network, real, sampled_translations(model, dataset, selection, encoded, network), selection
        )
        samples, references = sampled_diversities(model, dataset, selection, encoded, network)
        figures.mean(name("diversity") + "_of_samples", samples.numpy())
        figures.mean(name("diversity") + "_of_domain_references", references.numpy())

    def labelled() -> None:
        if not network.own:  # those features trained G
            add_label_probe(figures, network, dataset, selection, real, fake, cache_root)

    for part in (labelled, diverse, sampled):
        figures.attempt(part)
    if _is_foreign(model, dataset):
        figures.notes += [FOREIGN] if selection.part == "all" else [FOREIGN, UNSEEN]
        return None
    if not figures.values["held_out"]:
        return None
    nearest_training = nearest_training_images(network, dataset, selection, real, made.features, cache_root)
    ratio = nearest_training.translated.mean() / max(float(nearest_training.held_out.mean()), 1e-12)
    figures.values[name("nearest_training_ratio")] = float(ratio)
    return nearest_training


def _protocol(
    data: Data, dataset: Dataset, selection: Selection, network: FeatureNetwork, *, by_label: bool
) -> dict[str, Any]:
    return {
        "version": PROTOCOL_VERSION,
        "data": data.folder,
        **describe_selection(selection, dataset),
        "fit": data.fit,
        "features": network.name,
        "features_input": network.rule,
        "features_identity": network.identity,
        "domains": "labels" if by_label else "pseudo labels",
        **({"labels_fingerprint": dataset.labels_fingerprint} if by_label else {}),
        "domain_pairs": f"ordered pairs of different domains with at least {LEAST_PER_DOMAIN} translations and images",
        "neighbours": NEIGHBOURS,
        "diversity": f"{DIVERSE_SOURCES} sources, {DIVERSE_REFERENCES} references each",
        "errors": "mean absolute differences, 0 to 1",
        "label_free_score": SCORE,
        "intervals": INTERVALS,
    }
