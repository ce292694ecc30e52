"""runs.py: the run directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from open_tunit.runs import DifferentRunError, check_same_recipe
from open_tunit.settings.recipes import OURS, PAPER


def test_a_checkpoints_recipe_is_the_one_asked_for() -> None:
    for recipe in (PAPER, OURS):
        check_same_recipe(dataclasses.asdict(recipe), recipe, Path("run"))
        check_same_recipe(None, recipe, Path("run"))
    with pytest.raises(DifferentRunError, match="shape_weight"):
        check_same_recipe(dataclasses.asdict(OURS), dataclasses.replace(OURS, shape_weight=2.0), Path("run"))


def test_checkpoints_without_a_geometry_moved_continuously() -> None:
    """A run of the paper's recipe that began before the published geometry does not go on with it."""
    ours, paper = dataclasses.asdict(OURS), dataclasses.asdict(PAPER)
    del ours["geometry"], paper["geometry"]
    check_same_recipe(ours, OURS, Path("run"))
    with pytest.raises(DifferentRunError, match="geometry"):
        check_same_recipe(paper, PAPER, Path("run"))
