"""storage.py: a folder and a URL hold the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from open_tunit.scale.storage import Storage


@pytest.fixture(params=["folder", "URL"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Storage.of(str(tmp_path / "place"))
    pytest.importorskip("fsspec")
    return Storage.of(f"file://{tmp_path}/place/")


def test_texts_come_and_go(storage: Storage) -> None:
    assert storage.read_text("a/b.txt") == ""
    assert storage.files() == storage.files("a") == []
    storage.write_text("a/b.txt", "größer\n")
    storage.write_text("c.txt", "1")
    assert storage.read_text("a/b.txt") == "größer\n"
    assert (storage.files(), storage.files("a")) == (["a/b.txt", "c.txt"], ["a/b.txt"])
    storage.delete(["c.txt"])
    assert storage.files() == ["a/b.txt"]


def test_files_of_a_url_are_copied(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    storage = Storage.of(f"file://{tmp_path}/place")
    assert storage.folder is None
    (tmp_path / "here.bin").write_bytes(b"some")
    storage.store(tmp_path / "here.bin", "deep/there.bin")
    storage.fetch("deep/there.bin", tmp_path / "new" / "back.bin")
    assert (tmp_path / "new" / "back.bin").read_bytes() == b"some"
    with pytest.raises(FileNotFoundError):
        storage.fetch("nothing.bin", tmp_path / "x.bin")
    with pytest.raises(ValueError, match="nosuchprotocol"):
        Storage.of("nosuchprotocol://a").files()


def test_a_file_is_put_in_place_of_another(storage: Storage, tmp_path: Path) -> None:
    storage.write_text("a.bin", "before")
    (tmp_path / "new.bin").write_bytes(b"after")
    storage.store(tmp_path / "new.bin", "a.bin")
    assert (storage.files(), storage.read_text("a.bin")) == (["a.bin"], "after")
