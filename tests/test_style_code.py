"""style_code.py: strengths of a style and of its colours."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from open_tunit.networks.style_code import Strength, Strengths, needs_own, strengths, walked


@pytest.mark.parametrize(
    ("strength", "colours", "expected"),
    [
        (1.0, None, 1.0),
        (0.25, None, 0.25),
        (0.25, 0.25, 0.25),
        (0.0, "source", 0.0),
        (1.0, "source", (1, 0)),
        (0.5, "source", (0.5, 0)),
        (1.0, "reference", (0, 1)),
        (0.5, "reference", (0, 0.5)),
        (1.0, 0.25, (1, 0.25)),
        (0.5, 1, (0.5, 1)),
    ],
)
def test_colours_have_a_strength_of_their_own(strength: float, colours: Any, expected: Strength) -> None:
    assert strengths(strength, colours) == expected


def test_codes_between_two() -> None:
    own, other = torch.zeros(1, 4), torch.full((2, 4), 8.0)
    assert torch.equal(walked(own, other, 0.25), torch.full((2, 4), 2.0))
    assert torch.equal(walked(None, other, 1.0), other)


@pytest.mark.parametrize(
    ("strength", "needed"),
    [
        (1.0, False),
        (Strengths(1, 0), False),
        (Strengths(0, 1), False),
        (0.5, True),
        (0.0, True),
        (Strengths(1, 0.9), True),
        (Strengths(0.5, 0), True),
    ],
)
def test_when_the_sources_own_code_counts(strength: Strength, needed: bool) -> None:
    assert needs_own(strength) == needed


@pytest.mark.parametrize(
    ("strength", "colours", "named"),
    [(-0.1, None, "strength"), (1.1, None, "strength"), (1, "grey", "colours"), (1, 2, "colours"), (1, -1, "colours")],
)
def test_what_is_no_strength(strength: float, colours: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} is"):
        strengths(strength, colours)
