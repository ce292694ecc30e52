"""evaluation/ground_truth/patterns.py: the kind of coat pattern that a picture wears."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from open_tunit.data import critters
from open_tunit.data.critters import Critter
from open_tunit.evaluation.ground_truth.patterns import NONE, worn_patterns
from open_tunit.media.images import from_uint8

SIZE, COUNT = 32, 60


def _pictures(drawn: list[Critter]) -> Tensor:
    return from_uint8(np.stack([critters.draw(one, SIZE) for one in drawn]))


def _pairs(species: int) -> tuple[list[Critter], list[Critter]]:
    """Sources and references of different species."""
    drawn = [critters.critter(100, index, species=species) for index in range(2 * COUNT)]
    pairs = [(s, r) for s, r in zip(drawn[:COUNT], drawn[COUNT:], strict=True) if s.species != r.species]
    return [source for source, _ in pairs], [reference for _, reference in pairs]


@pytest.mark.parametrize("species", [5, 10])
def test_the_true_answer_wears_the_references_pattern_and_the_source_its_own(species: int) -> None:
    sources, references = _pairs(species)
    pairs = list(zip(sources, references, strict=True))
    answers = [critters.true_answer(s, r) for s, r in pairs]
    kept, taken = (np.array([one.species for one in side]) for side in (sources, references))
    candidates = {
        "answer": (answers, 1.0, 0.0),
        "unchanged": (sources, 0.0, 1.0),
        "recoloured": ([critters.recoloured(s, r) for s, r in pairs], 0.0, 1.0),
    }
    for name, (drawn, share_taken, share_kept) in candidates.items():
        worn = worn_patterns(_pictures(drawn), answers, species)
        assert (worn == taken).mean() == pytest.approx(share_taken, abs=0.02), name
        assert (worn == kept).mean() == pytest.approx(share_kept, abs=0.02), name


def test_a_coat_without_a_pattern_wears_none() -> None:
    answers = [critters.critter(100, index) for index in range(3)]
    assert worn_patterns(torch.zeros(3, 3, SIZE, SIZE), answers, 5).tolist() == [NONE] * 3
