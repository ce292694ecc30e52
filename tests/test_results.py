"""results.py: names of translations that never meet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from open_tunit.translation.results import LONGEST_NAME, Results, named_files


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_names_are_short_where_they_can_be(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "a.jpg", "b.png", "deep/c.png", "d.png", "d.png.png")
    names = dict(named_files(tmp_path))
    assert sorted(names) == ["a.jpg", "a.png", "b", "d", "d.png.png", "deep/c"]
    assert names["deep/c"] == tmp_path / "deep" / "c.png"
    assert named_files(tmp_path / "b.png") == [("b", tmp_path / "b.png")]


def _results(out: Path, names: list[str], labels: list[str]) -> Results:
    return Results(out, {Path(f"{name}.png"): name for name in names}, labels)


def test_results_that_would_share_a_name_are_refused(tmp_path: Path) -> None:
    results = _results(tmp_path, ["a", "a--b"], ["c", "b--c"])
    with pytest.raises(ValueError, match=r"of a\.png and of a--b\.png would both be .*a--b--c\.png; rename one"):
        results.check(overwrite=True)
    _results(tmp_path, ["a", "a--b"], ["c", "d"]).check(overwrite=False)


def test_a_result_that_would_be_anothers_folder_is_refused(tmp_path: Path) -> None:
    results = _results(tmp_path, ["a", "a--c.png/b", "a--c.png/d/e", "f/a--c.png/b"], ["c", "d"])
    assert {path.as_posix() for path in results.blocked()} == {"a--c.png/b.png", "a--c.png/d/e.png"}
    with pytest.raises(
        ValueError, match=r"a--c\.png would be a translation of a\.png and a folder for a--c\.png/b\.png"
    ):
        results.check(overwrite=True)


def test_results_that_exist(tmp_path: Path) -> None:
    _touch(tmp_path, "a--c.png")
    with pytest.raises(ValueError, match="exists already"):
        _results(tmp_path, ["b", "a"], ["c"]).check(overwrite=False)
    _results(tmp_path, ["b", "a"], ["c"]).check(overwrite=True)


@pytest.mark.parametrize("name", ["n" * 200, "ü" * 120, "caf\udce9" * 40])
def test_long_names_are_cut_and_stay_apart(tmp_path: Path, name: str) -> None:
    results = _results(tmp_path, [f"deep/{name}1", f"deep/{name}2"], ["r" * 100])
    results.check(overwrite=False)
    for source in results.names:
        path = results.of(source, 0)
        assert len(os.fsencode(path.name)) <= LONGEST_NAME
        assert path.parent == tmp_path / "deep"
        path.parent.mkdir(exist_ok=True)
        path.touch()


def test_films_become_films(tmp_path: Path) -> None:
    results = Results(tmp_path, {Path("a.mov"): "a.mov", Path("a.mp4"): "a.mp4", Path("a.png"): "a.png"}, ["c"])
    results.check(overwrite=False)
    assert [results.of(path, 0).name for path in results.names] == ["a.mov--c.mp4", "a.mp4--c.mp4", "a.png--c.png"]
