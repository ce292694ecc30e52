"""Figures on critters, whose translations have true answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit import images
from open_tunit.data import critters
from open_tunit.data.dataset import CRITTERS_TEST, CRITTERS_TRAIN, CRITTERS_VAL, parse_critters
from open_tunit.evaluation.ground_truth.classifiers import SPECIES, Judges, open_judges, truth_of
from open_tunit.metrics.clustering import matched_hits
from open_tunit.metrics.resampling import Interval, bootstrap_interval
from open_tunit.model import TUNIT
from open_tunit.rng import rng

JUDGED = 0.95
"""A content factor counts when its judge reaches this on real held-out critters."""
PROTOCOL = (
    f"{CRITTERS_TEST} held-out critters, each the source once and the reference once, paired by a seeded permutation; "
    "errors are mean absolute differences from the true answer, as a share of the unchanged source's; the head is "
    "the union of the source's and the answer's; judges are networks trained on other critters with their truth"
)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Held-out sources and references with the truth about them; pictures (N, 3, S, S) in [-1, 1]."""

    sources: list[critters.Critter]
    references: list[critters.Critter]
    source: Tensor
    reference: Tensor
    answer: Tensor
    recoloured: Tensor
    head: Tensor
    """(N, 1, S, S) in [0, 1]."""


def held_out_pairs(folder: str, *, size: int, seed: int) -> Pairs:
    """The test critters of the run's seed as sources, and a permutation of them as references."""
    species, shares = parse_critters(folder)
    first = CRITTERS_TRAIN + CRITTERS_VAL
    chosen = [critters.critter(seed, i, species=species, shares=shares) for i in range(first, first + CRITTERS_TEST)]
    order = rng(seed).permutation(len(chosen))
    partners = [chosen[i] for i in order]
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
        source=source,
        reference=source[torch.as_tensor(order)],
        answer=_pictures(answers, size),
        recoloured=_pictures(lazy, size),
        head=torch.from_numpy(np.stack(masks))[:, None],
    )


def measure(model: TUNIT, folder: str, *, seed: int, cache_root: Path) -> tuple[dict[str, Any], Pairs, Tensor]:
    """The figures of a model on the held-out critters of `seed`, with `intervals`; the pairs; the translations.

    The judges are kept in the cache.
    """
    pairs = held_out_pairs(folder, size=model.config.size, seed=seed)
    translations = model.translate(pairs.source, pairs.reference).cpu()
    true_species = np.array([critter.species for critter in pairs.sources])
    pseudo = model.domains(pairs.source).argmax(dim=1).cpu().numpy()
    sorted_right = matched_hits(pseudo, true_species)
    figures: dict[str, Any] = {"pseudo_label_accuracy": _share(sorted_right)}
    intervals = {"pseudo_label_accuracy": bootstrap_interval(sorted_right, seed=seed)}
    judges = open_judges(species=parse_critters(folder)[0], size=model.config.size, cache_root=cache_root)
    for part, its_intervals in (
        _error_ratios(pairs, translations, seed),
        _judged(pairs, translations, judges, seed),
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


def _judged(
    pairs: Pairs, translations: Tensor, judges: Judges, seed: int
) -> tuple[dict[str, Any], dict[str, Interval]]:
    said = judges.levels(translations)
    content = {name: value.numpy() for name, value in truth_of(pairs.sources).items()}
    reached = said[SPECIES] == np.array([critter.species for critter in pairs.references])
    heard = [name for name in critters.CONTENT_LEVELS if judges.accuracy[name] >= JUDGED]
    kept = {name: said[name] == content[name] for name in heard}
    intervals = {"species_reached": bootstrap_interval(reached, seed=seed)}
    if kept:
        intervals["content_kept"] = bootstrap_interval(np.mean(list(kept.values()), axis=0), seed=seed)
    shares = {name: _share(hits) for name, hits in kept.items()}
    figures = {
        "species_reached": _share(reached),
        "content_kept": float(np.mean(list(shares.values()))) if shares else None,
        "content_kept_by_factor": shares,
        "judge_accuracy": judges.accuracy,
    }
    return figures, intervals


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean())
