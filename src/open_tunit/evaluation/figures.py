"""Measurements become named figures with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.selection import Selection
from open_tunit.evaluation.translations import Encoded, Translations
from open_tunit.metrics import agreement
from open_tunit.metrics.distances import TooFewError, check_count, frechet_distance, kernel_distance
from open_tunit.metrics.neighbours import neighbour_hits, neighbourhoods
from open_tunit.metrics.resampling import Interval, bootstrap_interval, jackknife_interval

LEAST_LABELLED = 2
MERGED_SHARE = 0.9
"""One domain with more of the images than this leaves little to measure of the others."""
LEAST_PER_DOMAIN = 10
"""Translations, and real images, that an ordered pair of domains needs to have its Fréchet distance taken."""
INTERVALS = (
    "95 %. Means: bootstrap over source (or real) images, 1,000 resamples. Fréchet distances: jackknife leaving out a "
    "tenth of the sources; the real images are held fixed. Kernel distance: its spread over subsets instead"
)
SCORE = (
    "mean over pairs of different domains of E's probability of the reference's domain, times the share of the source "
    "that is kept when the translation is redrawn in the source's style; E also trained G, so it ranks translations "
    "and checkpoints of one run only"
)
UNCHANGED = "_source_unchanged"
"""Ends the name of a figure that the sources have without any translation."""


@dataclasses.dataclass
class Figures:
    """Values by name, intervals of some of them, and a warning about each that is missing or rests on little."""

    seed: int
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def mean(self, name: str, items: NDArray[Any], clusters: NDArray[np.int64] | None = None) -> None:
        """The mean of items; those of one of the `clusters` are resampled together."""
        items = items.astype(np.float64)
        self.values[name] = float(items.mean())
        if clusters is None:
            sums, counts = items, np.ones(len(items))
        else:
            sums, counts = np.bincount(clusters, weights=items), np.bincount(clusters).astype(np.float64)
            sums, counts = sums[counts > 0], counts[counts > 0]
        self.intervals[name] = bootstrap_interval(sums, counts, seed=self.seed)

    def attempt(self, figures: Callable[[], None]) -> None:
        """Run `figures`; where it has too few images, note how many it needs."""
        try:
            figures()
        except TooFewError as error:
            self.notes.append(str(error))


def add_own_figures(figures: Figures, encoded: Encoded, made: Translations, selection: Selection, domains: int) -> None:
    """What needs neither labels nor a feature network."""
    counts = np.bincount(encoded.domains, minlength=domains)
    figures.values |= {"pairs": len(selection.sources), "images_per_domain": counts.tolist()}
    if counts.max() > MERGED_SHARE * counts.sum():
        figures.notes.append(
            f"{counts.max()} of {counts.sum()} images are in one domain: figures of the others rest on few images"
        )
    figures.mean("reconstruction_error", encoded.reconstruction)
    figures.mean("cycle_error", made.cycle_error, selection.sources)
    figures.attempt(lambda: _add_domain_figures(figures, encoded, made, selection))


def _add_domain_figures(figures: Figures, encoded: Encoded, made: Translations, selection: Selection) -> None:
    """Over the pairs of different domains; beside each figure the one of the unchanged sources."""
    different = made.different
    figures.values["pairs_of_different_domains"] = int(different.sum())
    check_count("domain reached and label-free score", int(different.sum()), 1, "pairs of different domains")
    sources, references = (positions[different] for positions in (selection.sources, selection.references))
    figures.mean("domain_reached", made.reached[different], sources)
    unchanged = encoded.domains[sources] == encoded.domains[references]
    figures.values[f"domain_reached{UNCHANGED}"] = float(unchanged.mean())
    figures.mean("label_free_score", made.scores()[different], sources)
    figures.values[f"label_free_score{UNCHANGED}"] = float(made.certainty_unchanged[different].mean())


def add_label_figures(figures: Figures, encoded: Encoded, labels: NDArray[np.int64]) -> None:
    """How pseudo labels and style codes agree with labels (N,), -1 where unknown."""
    known = labels >= 0
    pseudo, true = encoded.domains[known], labels[known]
    if known.sum() < LEAST_LABELLED:
        if known.any():
            figures.notes.append(f"agreement with labels: 1 labelled image; it needs at least {LEAST_LABELLED}")
        return
    figures.mean("pseudo_label_accuracy", agreement.matched_hits(pseudo, true))
    figures.values |= {
        "normalized_mutual_information": agreement.normalized_mutual_information(pseudo, true),
        "adjusted_rand_index": agreement.adjusted_rand_index(pseudo, true),
        "purity": agreement.purity(pseudo, true),
    }
    styles = encoded.styles[torch.as_tensor(known)]
    figures.attempt(
        lambda: figures.mean("style_neighbour_accuracy", neighbour_hits(styles, torch.as_tensor(true)).numpy())
    )


def add_feature_figures(
    figures: Figures,
    network: FeatureNetwork,
    real: Tensor,
    fake: Tensor,
    selection: Selection,
    groups: NDArray[np.int64],
) -> None:
    """Distances of translations `fake` (P, d) from images `real` (N, d) of the domains `groups` (N,), -1 unknown."""
    name = names_of(network)
    sources = torch.as_tensor(selection.sources)

    def overall() -> None:
        _with_jackknife(
            figures,
            name("frechet_distance"),
            lambda keep: frechet_distance(real, fake[torch.as_tensor(keep)]),
            selection,
        )

    def kernel() -> None:
        mean, spread = kernel_distance(real, fake, seed=selection.seed)
        figures.values |= {name("kernel_distance"): mean, name("kernel_distance") + "_spread": spread}

    def by_domain() -> None:
        pairs = _domain_pairs(groups, selection)
        mean_name = name("mean_frechet_distance")
        _with_jackknife(figures, mean_name, lambda keep: _mean_distance(real, fake, pairs, keep), selection)
        keep_all = np.ones(len(selection.sources), dtype=bool)
        figures.values[f"{mean_name}{UNCHANGED}"] = _mean_distance(real, real[sources], pairs, keep_all)
        figures.values[f"{mean_name}_pairs"] = len(pairs)

    def fidelity() -> None:
        for metric, items in neighbourhoods(real, fake).items():
            per_fake = metric in ("precision", "density")
            figures.mean(name(metric), items.numpy(), selection.sources if per_fake else None)

    for part in (overall, by_domain, kernel, fidelity):
        figures.attempt(part)


def add_sampled_distance(
    figures: Figures, network: FeatureNetwork, real: Tensor, sampled: Tensor, selection: Selection
) -> None:
    """The Fréchet distance of as many translations in sampled styles `sampled` (P, d) from images `real` (N, d)."""
    _with_jackknife(
        figures,
        names_of(network)("frechet_distance") + "_of_samples",
        lambda keep: frechet_distance(real, sampled[torch.as_tensor(keep)]),
        selection,
    )


def names_of(network: FeatureNetwork) -> Callable[[str], str]:
    """How figures on this network are called: FID, mFID and KID are names of Inception's alone."""
    short = {"frechet_distance": "fid", "mean_frechet_distance": "mfid", "kernel_distance": "kid"}
    if network.is_inception:
        return lambda name: short.get(name, f"{name}_{network.slug}")
    return lambda name: f"{name}_{network.slug}"


Pairs = list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]


def _domain_pairs(groups: NDArray[np.int64], selection: Selection) -> Pairs:
    """Per ordered pair of domains with enough images: which translations (P,), which real images (N,)."""
    source, reference = groups[selection.sources], groups[selection.references]
    found, most = [], 0
    present = np.unique(groups[groups >= 0])
    for a in present:
        for b in present[present != a]:
            fakes, reals = (source == a) & (reference == b), groups == b
            count = min(int(fakes.sum()), int(reals.sum()))
            most = max(most, count)
            if count >= LEAST_PER_DOMAIN:
                found.append((fakes, reals))
    if not found:
        check_count("mean Fréchet distance over pairs of domains", most, LEAST_PER_DOMAIN, "images in the largest pair")
        raise TooFewError("mean Fréchet distance over pairs of domains: 1 domain; it needs at least 2")
    return found


def _mean_distance(real: Tensor, fake: Tensor, pairs: Pairs, keep: NDArray[np.bool_]) -> float:
    distances = [
        frechet_distance(real[torch.as_tensor(reals)], fake[torch.as_tensor(fakes & keep)]) for fakes, reals in pairs
    ]
    return float(np.mean(distances))


def _with_jackknife(
    figures: Figures, name: str, statistic: Callable[[NDArray[np.bool_]], float], selection: Selection
) -> None:
    whole = statistic(np.ones(len(selection.sources), dtype=bool))
    figures.values[name] = whole
    figures.intervals[name] = jackknife_interval(statistic, selection.sources, whole=whole)
