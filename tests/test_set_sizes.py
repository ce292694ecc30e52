"""set_sizes.py: what is quoted at a run's start stands in the documentation's table."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from open_tunit.training.session.set_sizes import PAGE, ROWS, comparison

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("recipe", list(ROWS))
def test_the_row_that_a_set_is_in(recipe: str) -> None:
    rows = ROWS[recipe]
    assert sorted(rows) == list(rows)
    for row, other in itertools.pairwise(rows):
        for images in (row.images, other.images - 1):
            line = comparison(recipe, images)
            assert line is not None
            assert f" {row.images:,} " in line
            assert row.came in line
            assert rows[-1].came in line
    assert comparison(recipe, 1) == comparison(recipe, rows[0].images)
    last = comparison(recipe, 10**9)
    assert last is not None
    assert last.count(rows[-1].came) == 1
    assert comparison("paper", 100) is None


@pytest.mark.parametrize("recipe", list(ROWS))
def test_the_rows_are_those_of_the_documentation(recipe: str) -> None:
    page, _, heading = PAGE.partition("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f"## {heading.replace('-', ' ').capitalize()}" in text
    for row in ROWS[recipe]:
        lines = [line for line in text.splitlines() if line.startswith(f"| {row.images:,} |")]
        numbers = re.findall(r"\d*\.\d+|\d{2,}", row.came)
        assert numbers
        assert any(all(f" {number} " in line for number in numbers) for line in lines), row
