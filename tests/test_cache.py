"""cache.py: decoded once, reused while nothing changed, rebuilt when damaged."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit.data import cache_format
from open_tunit.data.cache import build_generated_store, build_store, default_cache_root, forget_pages
from open_tunit.data.duplicates import phash
from open_tunit.data.inspection import Inspection
from open_tunit.media import images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for index, name in enumerate(("b.png", "a.png", "sub/c.png")):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / name)
    return photos


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files decoded, as they are."""
    names: list[str] = []
    original = images.read_image

    def counting(path: Path, **options: object) -> Image.Image:
        names.append(path.name)
        return original(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "read_image", counting)
    return names


def test_the_store_holds_the_fitted_images(folder: Path, tmp_path: Path) -> None:
    store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert store.files == ("a.png", "b.png", "sub/c.png")
    assert store.unreadable == ()
    assert store.images.shape == (3, 8, 8, 3)
    assert store.images.dtype == np.uint8
    for row, file, digest in zip(store.images, store.files, store.hashes, strict=True):
        assert np.array_equal(row, np.asarray(Image.open(folder / file))[:, 2:10])
        assert digest == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="read-only"):
        store.images[0, 0, 0, 0] = 1


def test_the_cache_is_reused(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert sorted(decoded) == ["a.png", "b.png", "c.png"]
    second = build_store(str(folder), 8, "crop", "#ffffff", str(tmp_path / "cache"))
    assert len(decoded) == 3
    assert np.array_equal(first.images, second.images)
    assert first.hashes == second.hashes
    assert first.files == second.files
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("change", [{"size": 4}, {"fit": "pad"}, {"background": "#000000"}])
def test_other_settings_are_another_entry(
    folder: Path, tmp_path: Path, decoded: list[str], change: dict[str, object]
) -> None:
    settings = {"size": 8, "fit": "crop", "background": "#ffffff"}
    build_store(folder, **settings, cache_root=tmp_path / "cache")  # type: ignore[arg-type]
    build_store(folder, **(settings | change), cache_root=tmp_path / "cache")  # type: ignore[arg-type]
    build_store(folder, **settings, cache_root=tmp_path / "cache")  # type: ignore[arg-type]
    assert len(decoded) == 6


def test_a_changed_file_is_decoded_again(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    before = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "b.png")
    after = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert after.images[1].tolist() == [[[1, 2, 3]] * 8] * 8
    assert after.hashes[1] != before.hashes[1]
    assert after.hashes[0] == before.hashes[0]
    stat = (folder / "b.png").stat()
    os.utime(folder / "b.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    (folder / "a.png").unlink()
    assert build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache").files == ("b.png", "sub/c.png")
    assert len(decoded) == 3 + 1, "only what has another content"


def test_another_content_of_the_same_size_and_time_is_seen(folder: Path, tmp_path: Path) -> None:
    for value in (10, 20):
        Image.new("RGB", (8, 8), (value,) * 3).save(folder / "b.png", compress_level=0)
        os.utime(folder / "b.png", ns=(0, 0))
        store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
        assert store.images[1].max() == value


def test_one_version_of_a_folder_is_kept(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    before = np.array(first.images)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "aa.png")
    for number in range(3):
        os.utime(folder / "b.png", ns=(number, number))
        store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
        assert np.array_equal(np.delete(store.images, 1, axis=0), before)
        assert len(list((tmp_path / "cache").glob("*/*"))) == 1
    assert len(decoded) == 3 + 1
    assert np.array_equal(first.images, before), "who has the former version open still reads it"


def test_what_cannot_be_read_for_now_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = images.read_image

    def failing(path: Path, **options: object) -> Image.Image:
        if path.name == "b.png":
            raise images.UnreadableImage(path, "cannot be read: Input/output error") from OSError(
                5, "Input/output error"
            )
        return original(path, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_image", failing)
        for _ in range(2):
            store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
            assert store.unreadable == (("b.png", "cannot be read: Input/output error"),)
    assert build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache").files == ("a.png", "b.png", "sub/c.png")


def test_what_is_not_taken_is_told_each_time(folder: Path, tmp_path: Path) -> None:
    (folder / "IMG.HEIC").write_bytes(b"x")
    (folder / "dead.png").symlink_to("nowhere.png")
    for _ in range(2):
        store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
        assert [file for file, _ in store.unreadable] == ["IMG.HEIC", "dead.png"]


def test_what_is_known_of_the_files_is_kept_too(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    Image.new("RGBA", (20, 10), (255, 0, 0, 9)).save(folder / "clear.png")
    shutil.copy(folder / "clear.png", folder / "copy.png")
    (folder / "notes.txt").write_text("x")
    stores = [build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache") for _ in range(2)]
    shutil.copy(folder / "clear.png", folder / "copy of copy.png")
    stores.append(build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache"))
    assert sorted(set(decoded)) == ["a.png", "b.png", "c.png", "clear.png", "copy.png"]
    for store in stores:
        known = dict(zip(store.files, store.inspections, strict=True))
        assert known["clear.png"] == known["copy.png"] == Inspection("PNG", 20, 10, ("transparency",), None)
        assert known["a.png"] is not None
        assert known["a.png"][:4] == ("PNG", 12, 8, ())
        assert known["a.png"].phash == phash(images.read_image(folder / "a.png"))
        assert store.passed_over == (("notes.txt", "is no picture, by its suffix"),)
    assert known["copy of copy.png"] == known["clear.png"]


def test_another_folder_with_the_same_listing_is_not_confused(tmp_path: Path) -> None:
    roots = (tmp_path / "one", tmp_path / "twin")
    for root, value in zip(roots, (10, 20), strict=True):
        root.mkdir()
        Image.new("RGB", (8, 8), (value,) * 3).save(root / "a.bmp")
        os.utime(root / "a.bmp", ns=(0, 0))
    stores = [build_store(root, 8, "crop", "#ffffff", tmp_path / "cache") for root in roots]
    assert [int(store.images.max()) for store in stores] == [10, 20]


def _truncate(entry: Path) -> None:
    with open(entry / "images.uint8", "r+b") as file:
        file.truncate(100)


def _lengthen(entry: Path) -> None:
    with open(entry / "images.uint8", "ab") as file:
        file.write(b"x")


def _garble(entry: Path) -> None:
    (entry / "index.json").write_text('{"files": ["a.png"')


def _lose_a_hash(entry: Path) -> None:
    index = json.loads((entry / "index.json").read_text())
    index["rows"][1].pop()
    (entry / "index.json").write_text(json.dumps(index))


def _other_conversions(entry: Path) -> None:
    index = json.loads((entry / "index.json").read_text())
    index["rows"][1][3][3] = ["magic"]
    (entry / "index.json").write_text(json.dumps(index))


def _too_many_bits(entry: Path) -> None:
    index = json.loads((entry / "index.json").read_text())
    index["rows"][1][3][4] = 2**64
    (entry / "index.json").write_text(json.dumps(index))


def _remove_the_index(entry: Path) -> None:
    (entry / "index.json").unlink()


def _another_shape_of_json(entry: Path) -> None:
    (entry / "index.json").write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [
        _truncate, _lengthen, _garble, _lose_a_hash, _other_conversions, _too_many_bits, _remove_the_index,
        _another_shape_of_json,
    ],
)  # fmt: skip
def test_damaged_entries_are_rebuilt(folder: Path, tmp_path: Path, decoded: list[str], damage) -> None:  # type: ignore[no-untyped-def]
    whole = np.array(build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache").images)
    (entry,) = (tmp_path / "cache").glob("*/*")
    damage(entry)
    again = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert len(decoded) == 6
    assert np.array_equal(again.images, whole)
    assert list((tmp_path / "cache").glob("*/*")) == [entry]


def test_unreadable_files_are_left_out_and_told(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    (folder / "aa.jpg").write_bytes(b"no picture")
    for _ in range(2):
        store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
        assert store.files == ("a.png", "b.png", "sub/c.png")
        assert store.images.shape[0] == 3
        assert store.unreadable == (("aa.jpg", "is not an image, or of a kind that cannot be read"),)
    assert len(decoded) == 4


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"photos has no readable image among 2; the first: a\.png is not an image"):
        build_store(tmp_path / "photos", 8, "crop", "#ffffff", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_an_interrupted_build_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache", stop)
    assert not list((tmp_path / "cache").iterdir())
    assert len(build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache").files) == 3


def test_another_process_may_finish_first(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"

    def meanwhile(done: int, total: int) -> None:
        if done == total:
            build_store(folder, 8, "crop", "#ffffff", root)

    store = build_store(folder, 8, "crop", "#ffffff", root, meanwhile)
    assert store.images.shape == (3, 8, 8, 3)
    assert len(list(root.iterdir())) == 1


def test_progress_counts_to_the_total(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_cache_that_cannot_be_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"the cache .*file/cache cannot be written .* --set cache=DIR"):
        build_store(folder, 8, "crop", "#ffffff", tmp_path / "file" / "cache")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\); .* --set cache=DIR"):
        build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_root() == tmp_path / "xdg" / "open-tunit"
    build_store(folder, 8, "crop", "#ffffff")
    assert len(list((tmp_path / "xdg" / "open-tunit").iterdir())) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_root() == Path.home() / ".cache" / "open-tunit"


def test_generated_images(tmp_path: Path) -> None:
    drawn: list[int] = []

    def render(index: int) -> np.ndarray:  # type: ignore[type-arg]
        drawn.append(index)
        return np.full((4, 4, 3), index % 256, dtype=np.uint8)

    first = build_generated_store("squares", 600, 4, render, tmp_path)
    second = build_generated_store("squares", 600, 4, render, tmp_path)
    assert sorted(drawn) == list(range(600))
    assert first.images[:, 0, 0, 0].tolist() == [index % 256 for index in range(600)]
    assert np.array_equal(first.images, second.images)
    assert first.hashes == second.hashes
    assert first.files[:2] == ("000000", "000001")
    assert len(set(first.hashes)) == 256
    build_generated_store("circles", 3, 4, render, tmp_path)
    assert len(drawn) == 603


def test_a_store_is_frozen_and_the_cache_safe_to_delete(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    store = build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    with pytest.raises(dataclasses.FrozenInstanceError):
        store.files = ()  # type: ignore[misc]
    shutil.rmtree(tmp_path / "cache")
    assert build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache").hashes == store.hashes
    assert len(decoded) == 6


def test_a_new_format_is_another_entry(
    folder: Path, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    monkeypatch.setattr(cache_format, "FORMAT", cache_format.FORMAT + 1)
    build_store(folder, 8, "crop", "#ffffff", tmp_path / "cache")
    assert len(decoded) == 6


def test_forgotten_pages_come_back(picture_folder: Path, tmp_path: Path) -> None:
    store = build_store(picture_folder, 16, "crop", "#ffffff", tmp_path / "cache")
    before = np.array(store.images)
    forget_pages(store.images)
    np.testing.assert_array_equal(store.images, before)
    forget_pages(before)
