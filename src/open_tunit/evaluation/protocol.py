"""What is measured on which images: evaluate() and the figures of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.config import Data
from open_tunit.data.cache import default_cache_root
from open_tunit.data.dataset import Dataset, is_critters, open_dataset
from open_tunit.evaluation.copying import Copying, search_training_images
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
    names_of,
)
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.selection import Part, Plan, describe_plan, make_plan
from open_tunit.evaluation.translations import (
    DIVERSE_REFERENCES,
    DIVERSE_SOURCES,
    Opinions,
    Translations,
    diversities,
    opinions,
    translate_pairs,
)
from open_tunit.metrics.neighbours import NEIGHBOURS
from open_tunit.model import TUNIT

PROTOCOL_VERSION = 1
FOREIGN = "these are not the images that the model was trained on, so copying is not asked about"
UNSEEN = "if the model saw none of these images, --part all measures all"
FEW_MEASURED = 50
"""Images below which a warning goes with the figures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What an evaluation may be told, beside the data."""

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
    plan: Plan
    seen: Opinions
    made: Translations
    copying: Copying | None
    answers: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
    """Sources, references, translations and true answers (N, 3, S, S), where they are known."""


def evaluate(
    model: TUNIT, data: str, labels: str | None = None, *, seed: int = 0, asked: Asked | None = None
) -> dict[str, Any]:
    """Figures of a model on the held-out (test) images of a folder, or on critters with their true answers.

    `labels` is None, `folders` or a CSV file; `seed` draws the pairs (and the critters). Returns name -> figure, with
    `intervals`, `protocol` and `notes` (what had too few images, or says nothing) beside them. Raises what opening the
    data and the feature network raises.
    """
    asked = asked or Asked()
    given = Data(folder=data, labels=labels, fit=model.fit, background=model.background)
    return measure(model, given, seed=seed, asked=asked).figures


def measure(model: TUNIT, data: Data, *, seed: int, asked: Asked) -> Evaluation:
    """Everything about a model on `data`. Critters bring their labels and true answers."""
    critters = is_critters(data.folder)
    known = dataclasses.replace(data, labels="folders" if critters else data.labels, label_fraction=1.0)
    cache_root = default_cache_root() if asked.cache is None else Path(asked.cache).expanduser()
    network = open_features(
        asked.features, model, cache_root=cache_root, side=asked.features_side, pixel_range=asked.features_range
    )
    dataset = open_dataset(known, size=model.config.size, seed=seed, cache=asked.cache)
    plan = make_plan(dataset, part=asked.part, pairs=asked.pairs, seed=seed)
    seen = opinions(model, dataset, plan)
    made = translate_pairs(model, dataset, plan, seen.domains, network)
    labels = dataset.labels[plan.images]
    groups = labels if (labels >= 0).any() else seen.domains
    figures = Figures(seed)
    if len(plan.images) < FEW_MEASURED:
        count = len(plan.images)
        figures.notes.append(f"only {count} image{'s' * (count != 1)} measured: figures of so few say little")
    add_own_figures(figures, seen, made, plan, model.config.domains)
    add_label_figures(figures, seen, labels)
    copying = _on_features(figures, model, dataset, plan, network, made, groups, cache_root)
    protocol = _protocol(data, dataset, plan, network, by_label=bool((labels >= 0).any()))
    answers = None
    if critters:
        true, pairs, translations = truth.measure(model, data.folder, seed=seed, cache_root=cache_root)
        figures.intervals |= true.pop("intervals")
        figures.values |= true
        protocol["true_answers"] = truth.PROTOCOL
        answers = (pairs.source, pairs.reference, translations, pairs.answer)
    values = figures.values | {"intervals": figures.intervals, "notes": figures.notes, "protocol": protocol}
    return Evaluation(values, model, dataset, plan, seen, made, copying, answers)


def _is_foreign(model: TUNIT, dataset: Dataset) -> bool:
    """Whether the model is known to have been trained on other images than these."""
    trained_on = model.about.get("data", {}).get("fingerprint")
    return trained_on is not None and trained_on != dataset.fingerprint


def _on_features(
    figures: Figures,
    model: TUNIT,
    dataset: Dataset,
    plan: Plan,
    network: FeatureNetwork,
    made: Translations,
    groups: NDArray[np.int64],
    cache_root: Path,
) -> Copying | None:
    """What a feature network says of the translations."""
    assert made.features is not None
    real = real_features(network, dataset, plan.images, cache_root)
    add_feature_figures(figures, network, real, made.features, plan, groups)
    name = names_of(network)

    def diverse() -> None:
        translated, given = diversities(model, dataset, plan, network, real)
        figures.mean(name("diversity"), translated.numpy())
        figures.mean(name("diversity") + "_of_references", given.numpy())

    figures.attempt(diverse)
    if _is_foreign(model, dataset):
        figures.notes += [FOREIGN] if plan.part == "all" else [FOREIGN, UNSEEN]
        return None
    copying = search_training_images(network, dataset, plan, real, made.features, cache_root)
    if copying is not None:
        ratio = copying.translated.mean() / max(float(copying.held_out.mean()), 1e-12)
        figures.values[name("nearest_training_ratio")] = float(ratio)
    return copying


def _protocol(data: Data, dataset: Dataset, plan: Plan, network: FeatureNetwork, *, by_label: bool) -> dict[str, Any]:
    return {
        "version": PROTOCOL_VERSION,
        "data": data.folder,
        **describe_plan(plan, dataset),
        "fit": data.fit,
        "features": network.name,
        "features_input": network.rule,
        "features_identity": network.identity,
        "domains": "labels" if by_label else "pseudo labels",
        "domain_pairs": f"ordered pairs of different domains with at least {LEAST_PER_DOMAIN} translations and images",
        "neighbours": NEIGHBOURS,
        "diversity": f"{DIVERSE_SOURCES} sources, {DIVERSE_REFERENCES} references each",
        "errors": "mean absolute differences, 0 to 1",
        "label_free_score": SCORE,
        "intervals": INTERVALS,
    }
