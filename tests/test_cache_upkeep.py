"""cache_upkeep.py and `tunit cache`: what is kept, and what goes first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from open_tunit.cli.main import main
from open_tunit.data.cache import build_store
from open_tunit.data.cache_upkeep import entries, shrink


@pytest.fixture
def root(tmp_path: Path, picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one folder at two sizes, the larger used last, and a file that is neither."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for size in (16, 32):
        build_store(picture_folder, size, "crop", "#ffffff")
    root = tmp_path / "xdg" / "open-tunit"
    (root / "weights.bin").write_bytes(b"x" * 100)
    for number, entry in enumerate(reversed(entries(root))):
        os.utime(entry.path, (number, number))
    build_store(picture_folder, 32, "crop", "#ffffff")
    return root


def test_entries_are_named_and_measured(root: Path, picture_folder: Path) -> None:
    found = {entry.title: entry.bytes for entry in entries(root)}
    assert set(found) == {f"{picture_folder} at {size} px, 24 images" for size in (16, 32)} | {"weights.bin"}
    assert found["weights.bin"] == 100
    assert entries(root)[0].title.endswith("at 32 px, 24 images"), "the one used last"
    assert entries(root / "none") == []


def test_the_longest_unused_goes_first(root: Path, picture_folder: Path) -> None:
    total = sum(entry.bytes for entry in entries(root))
    assert shrink(root, total) == []
    gone = shrink(root, total - 200)
    assert all("32 px" not in entry.title for entry in gone)
    assert sum(entry.bytes for entry in entries(root)) <= total - 200
    assert len(build_store(picture_folder, 16, "crop", "#ffffff").files) == 24


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert "at 32 px, 24 images" in capsys.readouterr().out
    assert main(["cache", "--limit", str(entries(root)[0].bytes / 1e6)]) == 0
    assert "deleted " in capsys.readouterr().out
    assert [entry.title.endswith("at 32 px, 24 images") for entry in entries(root)] == [True]
    assert main(["cache", "--clear", "--limit", "1"]) == 2
    assert main(["cache", "--clear"]) == 0
    assert list(root.iterdir()) == []


def test_what_killed_processes_were_building_is_swept(root: Path, picture_folder: Path) -> None:
    for name, hours in ((".building-old", 2), (".building-new", 0)):
        (root / name).mkdir()
        (root / name / "images.uint8").write_bytes(b"half")
        for path in (root / name / "images.uint8", root / name):
            os.utime(path, (path.stat().st_mtime - 3600 * hours,) * 2)
    build_store(picture_folder, 64, "crop", "#ffffff")
    assert [path.name for path in root.glob(".building-*")] == [".building-new"]
