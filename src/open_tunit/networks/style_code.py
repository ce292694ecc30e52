"""A style code between two: from the source's own to the reference's, with a strength for its colours."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Colours = Literal["source", "reference"] | float
"""Whose numbers the palette has: the source's; the reference's, and nothing else of it; or by a strength, 0 to 1."""
WHOSE = ("source", "reference")


class Strengths(NamedTuple):
    """How far to walk from the source's own style code (0) to the reference's (1)."""

    style: float
    """In all numbers but the palette."""
    colours: float
    """In the palette, the last numbers of the code."""


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
        return Strengths(strength, 0.0) if colours == "source" else Strengths(0.0, strength)
    if not 0 <= colours <= 1:
        raise ValueError(f"colours is {colours:g}; expected 0 (the source's) to 1 (the reference's)")
    return Strengths(strength, colours)


def needs_own(strength: Strength) -> bool:
    """Whether the source's own style code counts."""
    return strength not in (1, (1, 1))


def walked(own: Tensor, codes: Tensor, strength: Strength, palette_dim: int) -> Tensor:
    """From `own` to `codes`, style codes of shapes that broadcast, (..., style_dim), by `strength`.

    Raises ValueError where colours have a strength of their own and the codes have no palette.
    """
    if not isinstance(strength, Strengths):
        return torch.lerp(own, codes, strength)
    if not palette_dim:
        raise ValueError("this model's style codes have no palette (model.palette_dim is 0); leave `colours` out")
    weight = codes.new_full(codes.shape[-1:], strength.style)
    weight[-palette_dim:] = strength.colours
    return torch.lerp(own, codes, weight)
