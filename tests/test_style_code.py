"""style_code.py: strengths of a style and of its colours."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from open_tunit.networks.style_code import Strengths, needs_own, strengths, walked

OWN, OTHER = torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([[8.0, 8.0, 8.0, 8.0]])


@pytest.mark.parametrize(
    ("strength", "colours", "expected"),
    [
        (1.0, None, [8, 8, 8, 8]),
        (0.25, None, [2, 2, 2, 2]),
        (1.0, "source", [8, 0, 0, 0]),
        (0.5, "source", [4, 0, 0, 0]),
        (1.0, "reference", [0, 8, 8, 8]),
        (0.5, "reference", [0, 4, 4, 4]),
        (1.0, 0.25, [8, 2, 2, 2]),
        (0.5, 1, [4, 8, 8, 8]),
    ],
)
def test_the_palette_has_a_strength_of_its_own(strength: float, colours: Any, expected: list[float]) -> None:
    found = walked(OWN, OTHER, strengths(strength, colours), palette_dim=3)
    assert found.tolist() == [expected]


def test_a_code_without_a_palette_has_no_colours() -> None:
    assert walked(OWN, OTHER, strengths(0.5), palette_dim=0).tolist() == [[4, 4, 4, 4]]
    with pytest.raises(ValueError, match="palette_dim"):
        walked(OWN, OTHER, strengths(1.0, "source"), palette_dim=0)


@pytest.mark.parametrize(("strength", "needed"), [(1, False), (Strengths(1, 1), False), (0.5, True), ((1, 0.9), True)])
def test_when_the_sources_own_code_counts(strength: Any, needed: bool) -> None:
    assert needs_own(strength) == needed


@pytest.mark.parametrize(
    ("strength", "colours", "named"),
    [(-0.1, None, "strength"), (1.1, None, "strength"), (1, "grey", "colours"), (1, 2, "colours"), (1, -1, "colours")],
)
def test_what_is_no_strength(strength: float, colours: Any, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} is"):
        strengths(strength, colours)
