"""Figures on critters, whose translations have true answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit import images
from open_tunit.data import critters
from open_tunit.data.dataset import CRITTERS_TEST, CRITTERS_TRAIN, CRITTERS_VAL, parse_critters
from open_tunit.evaluation.judges import SPECIES, train_judges, truth_of
from open_tunit.metrics.clustering import matched_accuracy
from open_tunit.model import TUNIT

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
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(chosen))
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


def measure(model: TUNIT, folder: str, *, seed: int) -> tuple[dict[str, Any], Pairs, Tensor]:
    """The figures of a model on the held-out critters of `seed`, the pairs, and the translations."""
    pairs = held_out_pairs(folder, size=model.config.size, seed=seed)
    translations = model.translate(pairs.source, pairs.reference).cpu()
    true_species = np.array([critter.species for critter in pairs.sources])
    pseudo = model.domains(pairs.source).argmax(dim=1).cpu().numpy()
    figures: dict[str, Any] = {"pseudo_label_accuracy": matched_accuracy(pseudo, true_species)}
    figures |= _error_ratios(pairs, translations)
    figures |= _judged(pairs, translations, species=parse_critters(folder)[0], size=model.config.size)
    return figures | {"protocol": PROTOCOL, "seed": seed}, pairs, translations


def _pictures(drawn: list[critters.Critter], size: int) -> Tensor:
    return images.from_uint8(torch.from_numpy(np.stack([critters.draw(critter, size) for critter in drawn])))


def _error_ratios(pairs: Pairs, translations: Tensor) -> dict[str, float]:
    def error(guess: Tensor, weight: Tensor) -> float:
        difference = (guess - pairs.answer).abs().mean(dim=1, keepdim=True)
        return float((difference * weight).sum() / weight.sum())

    figures: dict[str, float] = {}
    for suffix, weight in (("", torch.ones_like(pairs.head)), ("_head", pairs.head)):
        unchanged = error(pairs.source, weight)
        figures[f"true_answer_error_ratio{suffix}"] = error(translations, weight) / unchanged
        figures[f"baseline_background_recoloured{suffix}"] = error(pairs.recoloured, weight) / unchanged
        figures[f"baseline_reference_copied{suffix}"] = error(pairs.reference, weight) / unchanged
        figures[f"source_unchanged_error{suffix}"] = unchanged
    return figures


def _judged(pairs: Pairs, translations: Tensor, *, species: int, size: int) -> dict[str, Any]:
    judges = train_judges(species=species, size=size)
    said = judges.levels(translations)
    content = {name: value.numpy() for name, value in truth_of(pairs.sources).items()}
    wanted = np.array([critter.species for critter in pairs.references])
    kept = {
        name: _share(said[name] == content[name]) for name in critters.CONTENT_LEVELS if judges.accuracy[name] >= JUDGED
    }
    return {
        "species_reached": _share(said[SPECIES] == wanted),
        "content_kept": float(np.mean(list(kept.values()))) if kept else None,
        "content_kept_by_factor": kept,
        "judge_accuracy": judges.accuracy,
    }


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean())
