"""scan.py: which files a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from open_tunit.data.scan import SUFFIXES, content_hash, scan
from open_tunit.media.reasons import HEIC, RAW


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_any_nesting_sorted_with_posix_paths(tmp_path: Path) -> None:
    names = ["z.png", "a/b/c/deep.JPEG", "a/1.jpg", "B.webp", "ä/ü.tiff", "a b/with space.gif"]
    _touch(tmp_path, *names, "notes.txt", "a/labels.csv", "jpg", "folder.png/inside.bmp")
    assert scan(tmp_path) == tuple(sorted([*names, "folder.png/inside.bmp"]))
    assert scan(str(tmp_path)) == scan(tmp_path)


def test_every_suffix_is_found(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"a{suffix}" for suffix in SUFFIXES))
    assert len(scan(tmp_path)) == len(SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"} <= set(SUFFIXES)


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", ".b.png", ".git/c.png", "d/._e.jpg")
    assert scan(tmp_path) == ("a.png",)


def test_a_hidden_root_is_scanned(tmp_path: Path) -> None:
    _touch(tmp_path, ".photos/a.png")
    assert scan(tmp_path / ".photos") == ("a.png",)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    _touch(tmp_path, "set/a.png", "set/in/b.png", "elsewhere/c.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set" / "link")
    os.symlink(tmp_path / "set", tmp_path / "set" / "in" / "up")
    os.symlink(tmp_path / "set" / "in", tmp_path / "set" / "in" / "self")
    os.symlink(tmp_path / "gone.png", tmp_path / "set" / "broken.png")
    told: list[tuple[str, str]] = []
    found = scan(tmp_path / "set", left_out=lambda path, reason: told.append((path, reason)))
    assert found == ("a.png", "in/b.png", "link/c.png")
    assert told == [
        ("broken.png", "is a link to nothing"),
        ("in/self", "is a link to a folder that it lies in"),
        ("in/up", "is a link to a folder that it lies in"),
    ]


def test_no_picture_is_passed_over_in_silence(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "b.HEIC", "deep/c.cr2", "notes.txt", "@eaDir/a.png/thumb.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    told: list[str] = []
    assert scan(tmp_path, left_out=lambda path, reason: told.append(f"{path} {reason}")) == ("a.png",)
    assert told == [f"b.HEIC {HEIC.reason}", f"deep/c.cr2 {RAW.reason}", "pipe.png is no regular file"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"no images in .*; 3 are left out: b\.HEIC is HEIC"):
        scan(tmp_path)


def test_what_is_no_picture_is_told_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "@eaDir/a.png/thumb.jpg", "deep/__MACOSX/._b.png", "notes.txt", ".DS_Store", "._c.png")
    _touch(tmp_path, ".hidden.png", ".git/d.png", "deep/Thumbs.db")
    told: list[tuple[str, str]] = []
    left_out: list[str] = []
    found = scan(
        tmp_path,
        left_out=lambda path, _: left_out.append(path),
        passed_over=lambda path, reason: told.append((path, reason)),
    )
    assert (found, left_out) == (("a.png",), [])
    thumbnails, hidden = "holds thumbnails of the pictures beside it", "is hidden, by the dot in its name"
    assert told == [
        (".DS_Store", "belongs to a file manager"),
        ("._c.png", "is a sidecar of macOS"),
        (".git", hidden),
        (".hidden.png", hidden),
        ("@eaDir", thumbnails),
        ("deep/Thumbs.db", "belongs to a file manager"),
        ("deep/__MACOSX", thumbnails),
        ("notes.txt", "is no picture, by its suffix"),
    ]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"no images in .*; 8 are left out: \.DS_Store belongs"):
        scan(tmp_path)


def test_dead_links_without_a_suffix_may_have_been_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    os.symlink("/nowhere/photos", tmp_path / "unmounted")
    os.symlink("gone.txt", tmp_path / "notes.txt")
    told: list[str] = []
    scan(tmp_path, left_out=lambda path, _: told.append(path))
    assert told == ["unmounted"]


def test_folders_within_folders_without_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(600):
        deep = deep / "d"
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(600):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    (deep / "a.png").write_bytes(b"x")
    assert scan(tmp_path) == (f"{'d/' * 600}a.png",)


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "empty/readme.md")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; expected a folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"a\.png is a file; expected a folder"):
        scan(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"no images in .*empty; expected files ending in .*\.jpg"):
        scan(tmp_path / "empty")


def test_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "a.png", "locked/b.png")
    iterdir = Path.iterdir

    def denied(folder: Path) -> Iterator[Path]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", denied)
    told: list[tuple[str, str]] = []
    assert scan(tmp_path, left_out=lambda path, reason: told.append((path, reason))) == ("a.png",)
    assert told == [("locked", "cannot be listed: Permission denied")]
    with pytest.raises(ValueError, match="cannot be listed: Permission denied"):
        scan(tmp_path / "locked")


def test_content_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
