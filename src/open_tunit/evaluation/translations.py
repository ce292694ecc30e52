"""A model at work on a plan's pairs: pictures pass through in parts; numbers and features stay, in rows made once.

Small results kept one by one between large passing ones would leave holes that the memory grows by.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import chunks, pictures
from open_tunit.evaluation.selection import Plan
from open_tunit.metrics.diversity import diversity
from open_tunit.model import TUNIT
from open_tunit.rng import Stream, rng

DIVERSE_SOURCES, DIVERSE_REFERENCES = 32, 10
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Opinions:
    """What E says of a plan's N images."""

    domains: NDArray[np.int64]
    """(N,) pseudo labels."""
    styles: Tensor
    """(N, style_dim)"""
    reconstruction: Array
    """(N,) mean absolute error, in [0, 1], of each image redrawn in its own style."""


@dataclasses.dataclass(frozen=True)
class Translations:
    """What became of a plan's P pairs; errors are mean absolute differences in [0, 1]."""

    certainty: Array
    """(P,) E's probability that the translation is of the reference's domain."""
    reached: NDArray[np.bool_]
    """(P,) whether that domain is E's first choice."""
    cycle_error: Array
    """(P,) of the translation, redrawn in the source's style, from the source."""
    distance: Array
    """(P,) of the reference from the source: what a translation that keeps nothing is off by."""
    features: Tensor | None
    """(P, d), where a feature network was given."""

    def scores(self) -> Array:
        """(P,) in [0, 1], label-free: certainty x the share of the source that survives the way there and back."""
        kept: Array = np.clip(1 - self.cycle_error / max(float(self.distance.mean()), 1e-9), 0, 1)
        return self.certainty * kept


def opinions(model: TUNIT, dataset: Dataset, plan: Plan) -> Opinions:
    """E's domains and styles of the plan's images, and how well each is redrawn in its own style."""
    count = len(plan.images)
    seen = Opinions(np.empty(count, np.int64), torch.empty(count, model.config.style_dim), np.empty(count))
    for part in chunks(np.arange(count)):
        x = pictures(dataset, plan.images[part])
        seen.domains[part] = model.domains(x).argmax(dim=1).cpu().numpy()
        seen.styles[torch.as_tensor(part)] = model.style(x).cpu()
        seen.reconstruction[part] = _error(model.translate(x, x), x)
    return seen


def translate_pairs(
    model: TUNIT, dataset: Dataset, plan: Plan, domains: NDArray[np.int64], network: FeatureNetwork | None = None
) -> Translations:
    """Translate every pair and keep what is measured; `domains` (N,) are the images' pseudo labels."""
    count = len(plan.sources)
    certainty, reached, cycle_error, distance = np.empty(count), np.empty(count, bool), np.empty(count), np.empty(count)
    features: Tensor | None = None
    for part in chunks(np.arange(len(plan.sources))):
        sources, references = plan.sources[part], plan.references[part]
        x, reference = pictures(dataset, plan.images[sources]), pictures(dataset, plan.images[references])
        translation = model.translate(x, reference).cpu()
        said = model.domains(translation).double().cpu().numpy()  # (chunk, K)
        certainty[part] = said[np.arange(len(part)), domains[references]]
        reached[part] = said.argmax(axis=1) == domains[references]
        cycle_error[part] = _error(model.translate(translation, x), x)
        distance[part] = _error(reference, x)
        if network is not None:
            rows = network(translation)
            features = rows.new_empty(count, rows.shape[1]) if features is None else features
            features[torch.as_tensor(part)] = rows
    return Translations(certainty, reached, cycle_error, distance, features)


def diversities(
    model: TUNIT, dataset: Dataset, plan: Plan, network: FeatureNetwork, real: Tensor
) -> tuple[Tensor, Tensor]:
    """(D,) diversity of each source's translations over references, and of those references themselves."""
    generator = rng(plan.seed, Stream.DIVERSITY)
    count = len(plan.images)
    references = min(DIVERSE_REFERENCES, count)
    redrawn, given = [], []
    for position in generator.permutation(count)[:DIVERSE_SOURCES]:
        chosen = generator.permutation(count)[:references]
        source = pictures(dataset, plan.images[[position]])
        redrawn.append(network(model.translate(source, pictures(dataset, plan.images[chosen]))))
        given.append(real[torch.as_tensor(chosen)])
    return diversity(torch.stack(redrawn)), diversity(torch.stack(given))


def _error(a: Tensor, b: Tensor) -> Array:
    """(N,) mean absolute differences of images, of the range of [-1, 1]."""
    errors: Array = (a.cpu() - b.cpu()).abs().mean(dim=(1, 2, 3)).double().numpy() / 2
    return errors
