"""files.py: a file is whole or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from open_tunit.files import write_atomic, write_text_atomic


def test_text_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "log.txt"
    target.write_text("a longer text that was there before")
    write_text_atomic(target, "größer\n")
    assert target.read_bytes() == "größer\n".encode()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_a_writer_that_fails_half_way_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model.bin"
    target.write_bytes(b"old")

    def write(path: Path) -> None:
        path.write_bytes(b"half of the new")
        assert target.read_bytes() == b"old"
        raise error("the disk is full")

    with pytest.raises(error, match="the disk is full"):
        write_atomic(target, write)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_fails_where_nothing_was_leaves_nothing(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_atomic(tmp_path / "new.bin", write)
    assert list(tmp_path.iterdir()) == []


def test_the_writer_gets_a_file_beside_the_target_with_its_suffix(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(path: Path) -> None:
        seen.append(path)
        path.write_bytes(b"new")

    write_atomic(tmp_path / "a.pt", write)
    (temporary,) = seen
    assert (temporary.parent, temporary.suffix) == (tmp_path, ".pt")
    assert temporary.name.startswith(".")  # no pattern such as *.pt finds a half-written one
    assert not temporary.exists()


def test_the_file_has_the_rights_of_an_ordinary_one(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "a.txt", "text")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text_atomic(tmp_path / "no" / "a.txt", "text")


def test_files_are_saved_where_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows opens no folder, and flushes no descriptor that may only be read."""
    fcntl = pytest.importorskip("fcntl")
    system_open, system_fsync = os.open, os.fsync

    def windows_open(path: Path, flags: int, *more: object, **named: object) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR) and Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return system_open(path, flags, *more, **named)  # type: ignore[arg-type]

    def windows_fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        system_fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", windows_open)
        patch.setattr(os, "fsync", windows_fsync)
        write_text_atomic(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 120 + ".txt", "caf\udce9.txt"])
def test_long_and_odd_names(tmp_path: Path, name: str) -> None:
    write_text_atomic(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
