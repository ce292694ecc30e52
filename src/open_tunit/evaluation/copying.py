"""Is it copying? The training images nearest to translations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import real_features
from open_tunit.evaluation.selection import Plan
from open_tunit.metrics.neighbours import nearest
from open_tunit.rng import Stream, rng

MOST_TRAINING = 4000
"""Training images searched, drawn by the seed."""


@dataclasses.dataclass(frozen=True)
class Copying:
    """Distances in feature space to the nearest of `searched` training images."""

    searched: int
    nearest: NDArray[np.int64]
    """(P,) position in the data set of the training image nearest to each translation."""
    translated: NDArray[np.float64]
    """(P,) distance of each translation from it."""
    held_out: NDArray[np.float64]
    """(N,) distance of each held-out image from the training image nearest to it: what no copy looks like."""


def search_training_images(
    network: FeatureNetwork, dataset: Dataset, plan: Plan, real: Tensor, fake: Tensor, cache_root: Path
) -> Copying | None:
    """Look for the plan's images (N, d) and translations (P, d) among training images; None where it is those."""
    if plan.part in ("train", "all"):
        return None
    training = dataset.indices("train")
    if len(training) > MOST_TRAINING:
        generator = rng(plan.seed, Stream.TRAINING_IMAGES)
        training = np.sort(generator.permutation(training)[:MOST_TRAINING])
    features = real_features(network, dataset, training, cache_root)
    translated, found = nearest(fake, features)
    held_out, _ = nearest(real, features)
    return Copying(len(training), training[found.numpy()], translated.numpy(), held_out.numpy())
