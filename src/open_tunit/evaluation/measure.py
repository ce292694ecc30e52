"""A model at work on a plan's pairs: pictures pass through in parts, numbers and features stay."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features import FeatureNetwork
from open_tunit.evaluation.plan import Plan
from open_tunit.evaluation.stored import chunks, pictures
from open_tunit.metrics.diversity import diversity
from open_tunit.model import TUNIT

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
    domains, styles, errors = [], [], []
    for part in chunks(plan.images):
        x = pictures(dataset, part)
        domains.append(model.domains(x).argmax(dim=1).cpu())
        styles.append(model.style(x).cpu())
        errors.append(_error(model.translate(x, x), x))
    return Opinions(torch.cat(domains).numpy(), torch.cat(styles), np.concatenate(errors))


def translate_pairs(
    model: TUNIT, dataset: Dataset, plan: Plan, domains: NDArray[np.int64], network: FeatureNetwork | None = None
) -> Translations:
    """Translate every pair and keep what is measured; `domains` (N,) are the images' pseudo labels."""
    columns: dict[str, list[Array]] = {"certainty": [], "reached": [], "cycle_error": [], "distance": []}
    features = []
    for part in chunks(np.arange(len(plan.sources))):
        sources, references = plan.sources[part], plan.references[part]
        x, reference = pictures(dataset, plan.images[sources]), pictures(dataset, plan.images[references])
        translation = model.translate(x, reference).cpu()
        said = model.domains(translation).double().cpu().numpy()  # (chunk, K)
        columns["certainty"].append(said[np.arange(len(part)), domains[references]])
        columns["reached"].append(said.argmax(axis=1) == domains[references])
        columns["cycle_error"].append(_error(model.translate(translation, x), x))
        columns["distance"].append(_error(reference, x))
        if network is not None:
            features.append(network(translation))
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Translations(**whole, features=torch.cat(features) if features else None)  # type: ignore[arg-type]


def diversities(
    model: TUNIT, dataset: Dataset, plan: Plan, network: FeatureNetwork, real: Tensor
) -> tuple[Tensor, Tensor]:
    """(D,) diversity of each source's translations over references, and of those references themselves."""
    generator = np.random.Generator(np.random.Philox((plan.seed, DIVERSE_SOURCES)))
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
