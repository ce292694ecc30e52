"""Figures on critters, whose translations have true answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data import critters
from open_tunit.data.dataset import CRITTERS_TEST, CRITTERS_TRAIN, CRITTERS_VAL, parse_critters
from open_tunit.evaluation.figures import UNCHANGED
from open_tunit.evaluation.ground_truth.classifiers import SPECIES, Classifiers, open_classifiers, truth_of
from open_tunit.evaluation.ground_truth.patterns import worn_patterns
from open_tunit.evaluation.translations import encode
from open_tunit.media import images
from open_tunit.metrics.agreement import matched_hits
from open_tunit.metrics.resampling import Interval, bootstrap_interval
from open_tunit.model import TUNIT
from open_tunit.rng import Stream, rng

LEAST_ACCURACY = 0.95
"""A content factor counts when its classifier reaches this on real held-out critters."""
PROTOCOL = (
    f"{CRITTERS_TEST} held-out critters, each the source once and the reference once, paired by a seeded permutation; "
    "errors are mean absolute differences from the true answer, as a share of the unchanged source's; the head is "
    "the union of the source's and the answer's; classifiers are networks trained on other critters with their truth; "
    "species reached and coat patterns are counted over pairs of different species"
)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Held-out sources and references with the truth about them; pictures (N, 3, S, S) in [-1, 1]."""

    sources: list[critters.Critter]
    references: list[critters.Critter]
    order: Tensor
    """(N,) position among the sources of each one's reference."""
    source: Tensor
    reference: Tensor
    answer: Tensor
    recoloured: Tensor
    head: Tensor
    """(N, 1, S, S) in [0, 1]."""

    def different(self) -> NDArray[np.bool_]:
        """(N,) whether source and reference are of different species: where the unchanged source is wrong."""
        return np.not_equal(_species(self.sources), _species(self.references))


def held_out_pairs(folder: str, *, size: int, seed: int) -> Pairs:
    """The test critters of the run's seed as sources, and a permutation of them as references."""
    species, shares = parse_critters(folder)
    first = CRITTERS_TRAIN + CRITTERS_VAL
    chosen = [critters.critter(seed, i, species=species, shares=shares) for i in range(first, first + CRITTERS_TEST)]
    order = torch.as_tensor(rng(seed, Stream.EVALUATED_PAIRS).permutation(len(chosen)))
    partners = [chosen[i] for i in order.tolist()]
    answers = [critters.true_answer(s, r) for s, r in zip(chosen, partners, strict=True)]
    lazy = [critters.recoloured(s, r) for s, r in zip(chosen, partners, strict=True)]
    masks = [
        np.maximum(critters.head_mask(s, size), critters.head_mask(a, size))
        for s, a in zip(chosen, answers, strict=True)
    ]
    source = _pictures(chosen, size)
    return Pairs(
        sources=chosen,
        references=partners,
        order=order,
        source=source,
        reference=source[order],
        answer=_pictures(answers, size),
        recoloured=_pictures(lazy, size),
        head=torch.from_numpy(np.stack(masks))[:, None],
    )


def measure(model: TUNIT, folder: str, *, seed: int, cache_root: Path) -> tuple[dict[str, Any], Pairs, Tensor]:
    """The figures of a model on the held-out critters of `seed`, with `intervals`; the pairs; the translations.

    The classifiers are kept in the cache.
    """
    pairs = held_out_pairs(folder, size=model.config.size, seed=seed)
    species = parse_critters(folder)[0]
    probabilities, styles = encode(model, pairs.source)  # each reference is a source too
    translations = model.redraw(pairs.source, styles[pairs.order]).cpu()
    matched = matched_hits(probabilities.argmax(dim=1).numpy(), _species(pairs.sources))
    figures, intervals = _shares("pseudo_label_accuracy", matched, seed)
    classifiers = open_classifiers(species=species, size=model.config.size, cache_root=cache_root)
    for part, its_intervals in (
        _error_ratios(pairs, translations, seed),
        _classified(pairs, translations, classifiers, seed),
        _patterns(pairs, translations, species, seed),
    ):
        figures |= part
        intervals |= its_intervals
    return figures | {"intervals": intervals}, pairs, translations


def _pictures(drawn: list[critters.Critter], size: int) -> Tensor:
    return images.from_uint8(torch.from_numpy(np.stack([critters.draw(critter, size) for critter in drawn])))


def _error_ratios(pairs: Pairs, translations: Tensor, seed: int) -> tuple[dict[str, float], dict[str, Interval]]:
    def errors(guess: Tensor, weight: Tensor) -> Tensor:
        difference = (guess - pairs.answer).abs().mean(dim=1, keepdim=True)
        return (difference * weight).sum(dim=(1, 2, 3))  # (N,)

    figures: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for suffix, weight in (("", torch.ones_like(pairs.head)), ("_head", pairs.head)):
        unchanged, translated = errors(pairs.source, weight), errors(translations, weight)
        whole = float(unchanged.sum())
        figures[f"true_answer_error_ratio{suffix}"] = float(translated.sum()) / whole
        figures[f"baseline_background_recoloured{suffix}"] = float(errors(pairs.recoloured, weight).sum()) / whole
        figures[f"baseline_reference_copied{suffix}"] = float(errors(pairs.reference, weight).sum()) / whole
        figures[f"source_unchanged_error{suffix}"] = whole / float(weight.sum())
        intervals[f"true_answer_error_ratio{suffix}"] = bootstrap_interval(
            translated.numpy(), unchanged.numpy(), seed=seed
        )
    return figures, intervals


def _classified(
    pairs: Pairs, translations: Tensor, classifiers: Classifiers, seed: int
) -> tuple[dict[str, Any], dict[str, Interval]]:
    """Species that translations reach, content that they keep: what classifiers find in them."""
    found = classifiers.levels(translations)
    different, target = pairs.different(), _species(pairs.references)
    figures, intervals = _shares("species_reached", (found[SPECIES] == target)[different], seed)
    unchanged = classifiers.levels(pairs.source)[SPECIES] == target
    figures |= _shares(f"species_reached{UNCHANGED}", unchanged[different], seed)[0]
    content = {name: value.numpy() for name, value in truth_of(pairs.sources).items()}
    accurate = [name for name in critters.CONTENT_LEVELS if classifiers.accuracy[name] >= LEAST_ACCURACY]
    kept = {name: found[name] == content[name] for name in accurate}
    if kept:
        intervals["content_kept"] = bootstrap_interval(np.mean(list(kept.values()), axis=0), seed=seed)
    shares = {name: float(hits.mean()) for name, hits in kept.items()}
    figures |= {
        "content_kept": float(np.mean(list(shares.values()))) if shares else None,
        "content_kept_by_factor": shares,
        "classifier_accuracy": classifiers.accuracy,
    }
    return figures, intervals


def _patterns(
    pairs: Pairs, translations: Tensor, species: int, seed: int
) -> tuple[dict[str, Any], dict[str, Interval]]:
    """Whose coat pattern the translations wear, the reference's or the source's; pairs of different species."""
    different = pairs.different()
    answers = [critters.true_answer(s, r) for s, r in zip(pairs.sources, pairs.references, strict=True)]
    chosen = [answer for answer, counts in zip(answers, different, strict=True) if counts]
    figures: dict[str, Any] = {}
    intervals: dict[str, Interval] = {}
    pictures = torch.cat([part[torch.as_tensor(different)] for part in (translations, pairs.source)])
    worn_by_both = np.split(worn_patterns(pictures, [*chosen, *chosen], species), 2)
    for worn, ending in zip(worn_by_both, ("", UNCHANGED), strict=True):
        for name, wearers in (("pattern_taken", pairs.references), ("pattern_kept", pairs.sources)):
            values, bounds = _shares(f"{name}{ending}", worn == _species(wearers)[different], seed)
            figures |= values
            intervals |= bounds if not ending else {}
    return figures, intervals


def _species(drawn: list[critters.Critter]) -> NDArray[np.int64]:
    return np.array([critter.species for critter in drawn])


def _shares(name: str, hits: NDArray[np.bool_], seed: int) -> tuple[dict[str, Any], dict[str, Interval]]:
    """The share of hits under `name`, and its interval; None and no interval where nothing was counted."""
    if not len(hits):
        return {name: None}, {}
    return {name: float(hits.mean())}, {name: bootstrap_interval(hits, seed=seed)}
