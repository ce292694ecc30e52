"""Whose label a translation shows, by a linear probe on a feature network: fitted to labelled training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import real_features
from open_tunit.evaluation.figures import UNCHANGED, Figures, names_of
from open_tunit.evaluation.selection import Selection
from open_tunit.evaluation.translations import training_sample
from open_tunit.metrics.distances import check_count
from open_tunit.training.fitting.clustering import linear_heads

LEAST_LABELS, MOST_LABELS = 2, 1000
"""Of the training images; a probe of more would take long, and have few images of each."""


def add_label_probe(
    figures: Figures,
    network: FeatureNetwork,
    dataset: Dataset,
    selection: Selection,
    real: Tensor,
    fake: Tensor,
    cache_root: Path,
) -> None:
    """Figures of translations `fake` (P, d) of the images `real` (N, d), over the pairs of different labels.

    Labels that no training image has, and training images that are also measured, do not count. Nothing where no image
    has a label; raises TooFewError where there are too few.
    """
    labels = dataset.labels[selection.images]
    if (labels < 0).all():
        return
    if selection.part in ("train", "all"):
        figures.notes.append("labels reached: these images would be the probe's own; measure the test part")
        return
    training = _training_images(dataset, selection)
    taught, targets = np.unique(dataset.labels[training], return_inverse=True)
    known = np.isin(labels, taught)
    of_sources, of_references = labels[selection.sources], labels[selection.references]
    different = (of_sources != of_references) & known[selection.sources] & known[selection.references]
    check_count("labels reached", len(taught), LEAST_LABELS, "labels of training images")
    check_count("labels reached", int(different.sum()), 1, "pairs of different labels that training images have")
    if len(taught) > MOST_LABELS:
        figures.notes.append(f"labels reached: {len(taught):,} labels; the probe has at most {MOST_LABELS:,}")
        return
    features = real_features(network, dataset, training, cache_root)
    weight, bias = linear_heads(features[None], torch.as_tensor(targets), len(taught))
    told_real, told_fake = (taught[(x @ weight.T + bias).argmax(dim=1).numpy()] for x in (real, fake))
    name, sources = names_of(network), selection.sources[different]
    figures.values[name("label_probe_images")] = len(training)
    figures.mean(name("label_probe_accuracy"), told_real[known] == labels[known])
    figures.mean(name("label_reached"), told_fake[different] == of_references[different], sources)
    figures.values[name("label_reached") + UNCHANGED] = float((told_real[sources] == of_references[different]).mean())
    figures.mean(name("label_kept"), told_fake[different] == of_sources[different], sources)


def _training_images(dataset: Dataset, selection: Selection) -> NDArray[np.int64]:
    measured = {dataset.hashes[index] for index in selection.images}
    return training_sample(
        dataset, selection.seed, lambda index: dataset.labels[index] >= 0 and dataset.hashes[index] not in measured
    )
