"""Styles sampled without a reference, measured beside the styles of real references of the same domains."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import chunks, pictures
from open_tunit.evaluation.selection import Selection
from open_tunit.evaluation.translations import DIVERSE_REFERENCES, DIVERSE_SOURCES, Encoded
from open_tunit.metrics.distances import TooFewError, check_count
from open_tunit.metrics.diversity import diversity
from open_tunit.model import TUNIT
from open_tunit.rng import Stream, rng

LEAST_REFERENCES = 2
"""Images of a domain, for references of it to differ."""


def sampled_codes(model: TUNIT, domains: NDArray[np.int64], seed: int) -> Tensor:
    """A style code (P, style_dim) sampled from each of `domains` (P,). Raises TooFewError where one cannot be."""
    codes = torch.empty(len(domains), model.config.style_dim)
    for domain in np.unique(domains):
        rows = np.flatnonzero(domains == domain)
        if not can_sample(model, int(domain)):
            raise TooFewError("sampled styles: the model has no spread of its domains' style codes, or of some")
        codes[torch.as_tensor(rows)] = model.sample_styles(int(domain), len(rows), seed=seed).cpu()
    return codes


def can_sample(model: TUNIT, domain: int) -> bool:
    """Whether the model has the spread of this domain's style codes, and the domain any images."""
    return model.domain_spreads is not None and bool(model.domain_counts[domain])


def sampled_translations(
    model: TUNIT, dataset: Dataset, selection: Selection, encoded: Encoded, network: FeatureNetwork
) -> Tensor:
    """Features (P, d) of each pair's source in a sampled style of its reference's domain."""
    codes = sampled_codes(model, encoded.domains[selection.references], selection.seed)
    parts = []
    for part in chunks(np.arange(len(codes))):
        x = pictures(dataset, selection.images[selection.sources[part]])
        parts.append(network(model.redraw(x, codes[torch.as_tensor(part)])))
    return torch.cat(parts)


def sampled_diversities(
    model: TUNIT, dataset: Dataset, selection: Selection, encoded: Encoded, network: FeatureNetwork
) -> tuple[Tensor, Tensor]:
    """(D,) diversity of each source's translations in sampled styles of a domain, and in those of its real images.

    Sources get the domains in turn, and as many samples as references. Raises TooFewError where no domain has
    LEAST_REFERENCES images.
    """
    generator = rng(selection.seed, Stream.DIVERSITY, 1)
    counts = np.bincount(encoded.domains, minlength=model.config.domains)
    fitting = [k for k, count in enumerate(counts) if count >= LEAST_REFERENCES and can_sample(model, k)]
    check_count("diversity of sampled styles", len(fitting), 1, "domains with images and a spread of style codes")
    of_samples: list[Tensor] = []
    of_references: list[Tensor] = []
    for turn, position in enumerate(generator.permutation(len(selection.images))[:DIVERSE_SOURCES]):
        domain = fitting[turn % len(fitting)]
        chosen = generator.permutation(np.flatnonzero(encoded.domains == domain))[:DIVERSE_REFERENCES]
        first = turn * DIVERSE_REFERENCES
        samples = model.sample_styles(domain, first + len(chosen), seed=selection.seed)[first:]
        source = pictures(dataset, selection.images[[position]])
        for codes, found in ((samples, of_samples), (encoded.styles[torch.as_tensor(chosen)], of_references)):
            found.append(diversity(network(model.redraw(source, codes))[None]))
    return torch.cat(of_samples), torch.cat(of_references)
