"""split.py: parts by folder or by hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_tunit.data.split import split


def _hashes(names: list[str]) -> list[str]:
    return [hashlib.sha256(name.encode()).hexdigest() for name in names]


def _at(position: float) -> str:
    """A hash that lies at this point of [0, 1)."""
    return f"{int(position * 2**52):013x}" + "0" * 51


def test_hash_split_is_ninety_five_five() -> None:
    names = [f"{index}.png" for index in range(20_000)]
    parts = split(names, _hashes(names))
    for part, share in (("train", 0.9), ("val", 0.05), ("test", 0.05)):
        assert np.mean(parts == part) == pytest.approx(share, abs=0.007)


def test_hash_split_depends_on_contents_alone() -> None:
    names = [f"{index}.png" for index in range(300)]
    hashes = _hashes(names)
    parts = split(names, hashes)
    assert split([f"cats/{name}" for name in names], hashes).tolist() == parts.tolist()
    assert split(names[::-1], hashes[::-1]).tolist() == parts.tolist()[::-1]
    assert split(names[:200], hashes[:200]).tolist() == parts.tolist()[:200]


def test_the_split_is_the_same_everywhere() -> None:
    positions = [0.0, 0.049, 0.051, 0.099, 0.101, 0.5, 0.999]
    parts = split([f"{p}.png" for p in positions], [_at(p) for p in positions])
    assert parts.tolist() == ["val", "val", "test", "test", "train", "train", "train"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_duplicates_stay_together_and_train_is_never_starved(contents: list[int]) -> None:
    hashes = _hashes([str(content) for content in contents])
    parts = split([f"{index}.png" for index in range(len(contents))], hashes)
    assert len({(digest, part) for digest, part in zip(hashes, parts, strict=True)}) == len(set(hashes))
    assert np.count_nonzero(parts == "train") >= min(2, len(contents))


def test_tiny_sets_keep_two_for_training() -> None:
    hashes = [_at(0.01), _at(0.02), _at(0.06), _at(0.07)]
    assert split(["a.png", "b.png", "c.png", "d.png"], hashes).tolist() == ["val", "val", "train", "train"]
    assert split(["a.png"], hashes[:1]).tolist() == ["train"]
    assert split(["a.png", "b.png", "c.png"], hashes[:1] * 3).tolist() == ["train"] * 3
    assert split([], []).tolist() == []


def test_folders_decide_when_all_are_there() -> None:
    files = ["Train/a.png", "Validation/b.png", "test/x/c.png", "other/d.png", "e.png", "train.png", "other/val/f.png"]
    parts = split(files, [_at(0.01)] * len(files))
    assert parts.tolist() == ["train", "val", "test", "train", "train", "train", "train"]


def test_missing_test_takes_half_of_val() -> None:
    names = [f"val/{index}.png" for index in range(2000)] + [f"train/{index}.png" for index in range(500)]
    parts = split(names, _hashes(names))
    assert set(parts[2000:]) == {"train"}
    assert np.mean(parts[:2000] == "test") == pytest.approx(0.5, abs=0.04)
    assert np.mean(parts[:2000] == "val") == pytest.approx(0.5, abs=0.04)


def test_missing_val_takes_a_twentieth_of_train() -> None:
    names = [f"train/{index}.png" for index in range(6000)] + [f"test/{index}.png" for index in range(100)]
    parts = split(names, _hashes(names))
    assert set(parts[6000:]) == {"test"}
    assert np.mean(parts[:6000] == "val") == pytest.approx(0.05, abs=0.01)
    assert set(parts[:6000]) == {"train", "val"}


def test_train_alone_is_split_by_hash() -> None:
    names = [f"train/{index}.png" for index in range(3000)]
    parts = split(names, _hashes(names))
    assert parts.tolist() == split([name[6:] for name in names], _hashes(names)).tolist()


def test_the_users_own_val_and_test_are_never_trained_on() -> None:
    files = ["val/a.png", "test/b.png", "train/c.png"]
    assert split(files, [_at(0.9)] * 3).tolist() == ["val", "test", "train"]
    assert "train" not in split(["val/a.png", "test/b.png"], [_at(0.9)] * 2)
