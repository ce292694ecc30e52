"""Whose label a translation shows, by a linear probe on a feature network: fitted to labelled training images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import real_features
from open_tunit.evaluation.figures import UNCHANGED, Figures, names_of
from open_tunit.evaluation.selection import Selection
from open_tunit.evaluation.translations import training_sample
from open_tunit.training.fitting.clustering import linear_heads

LEAST_LABELS = 2


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

    None where the training part, or the selection's pairs, know fewer than two labels, and on images that are
    themselves of the training part.
    """
    training, labels = training_sample(dataset, selection.seed), dataset.labels[selection.images]
    training = training[dataset.labels[training] >= 0]
    targets = torch.as_tensor(dataset.labels[training])
    of_sources, of_references = labels[selection.sources], labels[selection.references]
    different = (of_sources != of_references) & (of_sources >= 0) & (of_references >= 0)
    if selection.part in ("train", "all") or len(targets.unique()) < LEAST_LABELS or not different.any():
        return
    features = real_features(network, dataset, training, cache_root)
    weight, bias = linear_heads(features[None], targets, int(dataset.labels.max()) + 1)
    told_real, told_fake = ((x @ weight.T + bias).argmax(dim=1).numpy() for x in (real, fake))
    name, sources = names_of(network), selection.sources[different]
    known = labels >= 0
    figures.mean(name("label_probe_accuracy"), told_real[known] == labels[known])
    figures.mean(name("label_reached"), told_fake[different] == of_references[different], sources)
    figures.values[name("label_reached") + UNCHANGED] = float((told_real[sources] == of_references[different]).mean())
    figures.mean(name("label_kept"), told_fake[different] == of_sources[different], sources)
