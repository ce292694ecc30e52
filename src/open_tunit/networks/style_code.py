"""Between the source and the reference: how far to walk in the style, and how far in the colours."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Colours = Literal["source", "reference"] | float
"""Whose colours a translation has: the source's; the reference's, and nothing else of it; or by a strength, 0 to 1."""
WHOSE = ("source", "reference")


class Strengths(NamedTuple):
    """How far to walk from the source (0) to its translation (1)."""

    style: float
    """In all but the colours."""
    colours: float


Strength = float | Strengths


def strengths(strength: float, colours: Colours | None = None) -> Strength:
    """The strengths of a translation whose colours are asked for by name or by number, or not at all.

    Raises ValueError for what is neither, and outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}; expected 0 (the source's own style) to 1 (the reference's)")
    if colours is None:
        return strength
    if isinstance(colours, str):
        if colours not in WHOSE:
            raise ValueError(f"colours is {colours!r}; expected source, reference, or a strength from 0 to 1")
        both = Strengths(strength, 0.0) if colours == "source" else Strengths(0.0, strength)
    else:
        if not 0 <= colours <= 1:
            raise ValueError(f"colours is {colours:g}; expected 0 (the source's) to 1 (the reference's)")
        both = Strengths(strength, colours)
    return both if both.style != both.colours else both.style


def needs_own(strength: Strength) -> bool:
    """Whether the source's own style code counts."""
    if isinstance(strength, Strengths):
        return any(0 < each < 1 for each in strength)
    return strength != 1


def walked(own: Tensor | None, codes: Tensor, strength: float) -> Tensor:
    """From `own` (None at strength 1) to `codes`, style codes of shapes that broadcast, (..., style_dim)."""
    return codes if own is None or strength == 1 else torch.lerp(own, codes, strength)
