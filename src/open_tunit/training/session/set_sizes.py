"""What came of as many training images: rows of docs/own-folder.md, which experiments/how_many.py measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

PAGE = "docs/own-folder.md#how-many-images"


class Measured(NamedTuple):
    """A training on so many images, measured on others."""

    images: int
    came: str


KINDS = {"ours": "drawn heads", "pretrained": "photographs of fruits"}
ROWS: dict[str, Sequence[Measured]] = {
    "ours": (
        Measured(50, ".222 are in the right domain, .753 of translations have the reference's species"),
        Measured(100, ".628 are in the right domain, .594 of translations have the reference's species"),
        Measured(200, ".828 are in the right domain, .826 of translations have the reference's species"),
        Measured(500, ".982 are in the right domain, .878 of translations have the reference's species"),
        Measured(1000, ".994 are in the right domain, .944 of translations have the reference's species"),
        Measured(4000, ".994 are in the right domain, .958 of translations have the reference's species"),
    ),
    "pretrained": (
        Measured(50, ".973 are in the right domain, Fréchet distance 153 between translations and pictures"),
        Measured(100, "1.000 are in the right domain, Fréchet distance 140 between translations and pictures"),
        Measured(200, "1.000 are in the right domain, Fréchet distance 114 between translations and pictures"),
        Measured(500, "1.000 are in the right domain, Fréchet distance 125 between translations and pictures"),
        Measured(900, "1.000 are in the right domain, Fréchet distance 130 between translations and pictures"),
    ),
}
"""By recipe, fewest images first."""


def comparison(recipe: str, images: int) -> str | None:
    """A line on the row that a training set of so many images is in; None for recipes that were not measured so.

    That is the largest that is no larger than the set, or the smallest of all, beside the largest of all.
    """
    if recipe not in ROWS:
        return None
    first, *more = ROWS[recipe]
    row = max((row for row in (first, *more) if row.images <= images), default=first)
    line = f"for comparison, {row.images:,} {KINDS[recipe]}: {row.came}"
    most = ROWS[recipe][-1]
    return f"{line} ({PAGE})" if row == most else f"{line}; {most.images:,}: {most.came} ({PAGE})"
