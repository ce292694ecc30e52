"""Translations of a selection measured: each image, each pair, the nearest training images, the validation score.

Pictures pass through in parts; numbers and features stay, in rows allocated once: small results kept one by one
between large passing ones would leave holes that the memory grows by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import chunks, pictures, real_features
from open_tunit.evaluation.selection import Selection, select_pairs
from open_tunit.metrics.diversity import diversity
from open_tunit.metrics.neighbours import nearest
from open_tunit.model import TUNIT
from open_tunit.parts import in_parts
from open_tunit.rng import Stream, rng

DIVERSE_SOURCES, DIVERSE_REFERENCES = 32, 10
MOST_TRAINING = 4000
"""Training images searched, drawn by the seed."""
VALIDATION_PAIRS = 128
AT_ONCE = 16
"""Images that E is given at once."""
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """E's output for a selection's N images."""

    domains: NDArray[np.int64]
    """(N,) pseudo labels."""
    probabilities: Tensor
    """(N, K) of each domain."""
    styles: Tensor
    """(N, style_dim)"""
    reconstruction: Array
    """(N,) mean absolute error, in [0, 1], of each image's reconstruction: itself in its own style."""


@dataclasses.dataclass(frozen=True)
class Translations:
    """What became of a selection's P pairs; errors are mean absolute differences in [0, 1]."""

    certainty: Array
    """(P,) E's probability that the translation is of the reference's domain."""
    reached: NDArray[np.bool_]
    """(P,) whether that domain is E's first choice."""
    cycle_error: Array
    """(P,) of the cycle reconstruction, the translation redrawn in the source's style, from the source."""
    distance: Array
    """(P,) of the reference from the source: what a translation that keeps nothing is off by."""
    different: NDArray[np.bool_]
    """(P,) whether source and reference are of different domains: where leaving the source unchanged fails."""
    certainty_unchanged: Array
    """(P,) E's probability that the unchanged source is of the reference's domain: its score, as all of it is kept."""
    features: Tensor | None
    """(P, d), where a feature network was given."""

    def scores(self) -> Array:
        """(P,) in [0, 1], label-free: certainty x the share of the source that the cycle keeps.

        The share is 1 - the cycle error over the mean distance of the pairs of different domains. A pair of one domain
        has a score too, but the unchanged source would have a high one: means are taken over the `different` pairs.
        """
        usual = self.distance[self.different] if self.different.any() else self.distance
        kept: Array = np.clip(1 - self.cycle_error / max(float(usual.mean()), 1e-9), 0, 1)
        return self.certainty * kept


@dataclasses.dataclass(frozen=True)
class NearestTraining:
    """Distances in feature space to the nearest of `searched` training images."""

    searched: int
    nearest: NDArray[np.int64]
    """(P,) position in the data set of the training image nearest to each translation."""
    translated: NDArray[np.float64]
    """(P,) distance of each translation from it."""
    held_out: NDArray[np.float64]
    """(N,) distance of each held-out image from the training image nearest to it: what no copy looks like."""


def encode(model: TUNIT, x: Tensor) -> tuple[Tensor, Tensor]:
    """Domain probabilities (N, K) and style codes (N, style_dim) of images (N, 3, S, S), by one pass through E."""
    with torch.inference_mode():
        parts = list(in_parts(model.E, x.to(model.domain_styles), at_once=AT_ONCE))
        logits, styles = (torch.cat([part[column] for part in parts]) for column in (0, 1))
        return model.naming.merged(logits.softmax(dim=1)).cpu(), styles.cpu()


def encode_images(model: TUNIT, dataset: Dataset, selection: Selection) -> Encoded:
    """Pseudo labels, style codes and reconstruction errors of the selection's images."""
    count = len(selection.images)
    encoded = Encoded(
        domains=np.empty(count, np.int64),
        probabilities=torch.empty(count, model.config.domains),
        styles=torch.empty(count, model.config.style_dim),
        reconstruction=np.empty(count),
    )
    for part in chunks(np.arange(count)):
        x = pictures(dataset, selection.images[part])
        probabilities, styles = encode(model, x)
        rows = torch.as_tensor(part)
        encoded.domains[part] = probabilities.argmax(dim=1).numpy()
        encoded.probabilities[rows], encoded.styles[rows] = probabilities, styles
        encoded.reconstruction[part] = _error(model.redraw(x, styles), x)
    return encoded


def translate_pairs(
    model: TUNIT, dataset: Dataset, selection: Selection, encoded: Encoded, network: FeatureNetwork | None = None
) -> Translations:
    """Measure every pair, translated with the style codes of `encoded`: E sees each translation once."""
    count = len(selection.sources)
    certainty, reached, cycle_error, distance = np.empty(count), np.empty(count, bool), np.empty(count), np.empty(count)
    features: Tensor | None = None
    for part in chunks(np.arange(count)):
        sources, references = selection.sources[part], selection.references[part]
        x, reference = pictures(dataset, selection.images[sources]), pictures(dataset, selection.images[references])
        translation = model.redraw(x, encoded.styles[torch.as_tensor(references)]).cpu()
        probabilities = model.domains(translation).cpu().double().numpy()  # (chunk, K)
        target = encoded.domains[references]
        certainty[part] = probabilities[np.arange(len(part)), target]
        reached[part] = probabilities.argmax(axis=1) == target
        cycle_error[part] = _error(model.redraw(translation, encoded.styles[torch.as_tensor(sources)]), x)
        distance[part] = _error(reference, x)
        if network is not None:
            rows = network(translation)
            features = rows.new_empty(count, rows.shape[1]) if features is None else features
            features[torch.as_tensor(part)] = rows
    target = encoded.domains[selection.references]
    return Translations(
        certainty=certainty,
        reached=reached,
        cycle_error=cycle_error,
        distance=distance,
        different=encoded.domains[selection.sources] != target,
        certainty_unchanged=encoded.probabilities.double().numpy()[selection.sources, target],
        features=features,
    )


def diversities(
    model: TUNIT, dataset: Dataset, selection: Selection, encoded: Encoded, network: FeatureNetwork, real: Tensor
) -> tuple[Tensor, Tensor]:
    """(D,) diversity of each source's translations over references, and of those references themselves."""
    generator = rng(selection.seed, Stream.DIVERSITY)
    count = len(selection.images)
    references = min(DIVERSE_REFERENCES, count)
    translated, given = [], []
    for position in generator.permutation(count)[:DIVERSE_SOURCES]:
        chosen = torch.as_tensor(generator.permutation(count)[:references])
        source = pictures(dataset, selection.images[[position]])
        translated.append(network(model.redraw(source, encoded.styles[chosen])))
        given.append(real[chosen])
    return diversity(torch.stack(translated)), diversity(torch.stack(given))


def nearest_training_images(
    network: FeatureNetwork, dataset: Dataset, selection: Selection, real: Tensor, fake: Tensor, cache_root: Path
) -> NearestTraining:
    """Look for held-out images (N, d) and translations (P, d) among the training images of the same data set."""
    training = training_sample(dataset, selection.seed)
    features = real_features(network, dataset, training, cache_root)
    translated, found = nearest(fake, features)
    held_out, _ = nearest(real, features)
    return NearestTraining(len(training), training[found.numpy()], translated.numpy(), held_out.numpy())


def training_sample(
    dataset: Dataset, seed: int, of: Callable[[np.int64], bool | np.bool_] = lambda index: True
) -> NDArray[np.int64]:
    """Positions of the training images that `of` says so of, of at most MOST_TRAINING drawn by the seed; ascending."""
    training = np.array([index for index in dataset.indices("train") if of(index)], np.int64)
    if len(training) > MOST_TRAINING:
        training = np.sort(rng(seed, Stream.TRAINING_IMAGES).permutation(training)[:MOST_TRAINING])
    return training


def validate(model: TUNIT, dataset: Dataset) -> dict[str, float]:
    """`score` (label-free, higher is better) and its parts on 128 pairs of validation images, drawn by seed 0.

    Score and `domain_reached` are means over the pairs of different domains, 0 where there are none. Empty where the
    data set has no validation images: training images choose no best model.
    """
    if not len(dataset.indices("val")):
        return {}
    selection = select_pairs(dataset, part="val", pairs=VALIDATION_PAIRS, most=VALIDATION_PAIRS)
    made = translate_pairs(model, dataset, selection, encode_images(model, dataset, selection))
    different, count = made.different, max(int(made.different.sum()), 1)
    return {
        "score": float(made.scores()[different].sum()) / count,
        "domain_reached": float(made.reached[different].sum()) / count,
        "cycle_error": float(made.cycle_error.mean()),
    }


def _error(a: Tensor, b: Tensor) -> Array:
    """(N,) mean absolute differences of images, of the range of [-1, 1]."""
    errors: Array = (a.cpu() - b.cpu()).abs().mean(dim=(1, 2, 3)).double().numpy() / 2
    return errors
