"""evaluation/selection.py: which images are sources and references."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.evaluation.selection import select_pairs
from open_tunit.settings.config import Data


def _opened(folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(folder), labels="folders"), size=32, seed=0)


def test_a_selection_pairs_each_image_as_often(split_folder: Path) -> None:
    dataset = _opened(split_folder)
    selection = select_pairs(dataset, seed=3)
    assert (selection.part, len(selection.images), len(selection.sources)) == ("test", 20, 80)
    np.testing.assert_array_equal(selection.images, dataset.indices("test"))
    for column in (selection.sources, selection.references):
        np.testing.assert_array_equal(np.bincount(column), np.full(20, 4))
    again = select_pairs(dataset, seed=3)
    np.testing.assert_array_equal(selection.references, again.references)
    assert not np.array_equal(selection.references, select_pairs(dataset, seed=4).references)
    some = select_pairs(dataset, pairs=27, seed=3)
    assert len(some.sources) == len(some.references) == 27
    assert np.bincount(some.sources, minlength=20).max() == 2
    np.testing.assert_array_equal(some.references[:20], selection.references[:20])


def test_a_selection_of_a_part_that_is_empty_or_large(split_folder: Path) -> None:
    dataset = _opened(split_folder)
    assert len(select_pairs(dataset, part="all").images) == len(dataset.files) == 24
    few = select_pairs(dataset, most=7, seed=1)
    assert len(few.images) == len(few.sources) // 4 == 7
    assert set(few.images) <= set(dataset.indices("test"))
    nothing_held_out = dataclasses.replace(dataset, split=np.full(24, "train"))
    for part in ("test", "val", "train"):
        selection = select_pairs(nothing_held_out, part=part)  # type: ignore[arg-type]
        assert (selection.part, len(selection.images)) == ("train", 24)
    with pytest.raises(ValueError, match="pairs is 0"):
        select_pairs(dataset, pairs=0)
