"""doctor.py: what is told of a folder's files, against what was put there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from odd_files import LEFT_OUT, USED, picture, write_odd_files
from PIL import Image

from open_tunit.data.dataset import open_dataset
from open_tunit.data.doctor import Examination, Finding, by_reason, examine, examined, findings, save_manifest
from open_tunit.settings.config import Data

SHAPE = 200, 160


def _named(examination: Examination) -> dict[str, dict[str, str]]:
    return {finding.name: finding.files for finding in findings(examination) if finding.name}


def _state(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that a program could change in a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        stat = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, digest)
    return found


@pytest.mark.filterwarnings("ignore")
def test_every_odd_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    told = write_odd_files(tmp_path)
    before = _state(tmp_path)
    examination = examine(tmp_path, size=32)
    named = _named(examination)
    expected = {why for use, why in told.values() if use == USED and why}
    assert _state(tmp_path) == before
    assert set(examination.files) == {file for file, (use, _) in told.items() if use == USED}
    reasons = dict(examination.left_out) | dict(examination.passed_over)
    assert set(dict(examination.left_out)) == {file for file, (use, _) in told.items() if use == LEFT_OUT}
    for file, (use, why) in told.items():
        if use == USED:
            own = {name for name in expected if file in named[name]}
            assert own >= ({why} if why else set()), file
        else:
            assert reasons[file].startswith(why), file


def test_plain_pictures_need_no_word(picture_folder: Path) -> None:
    for path in sorted(picture_folder.glob("*"))[2:]:
        path.unlink()
    examination = examine(picture_folder, size=32)
    assert len(examination.files) == 2
    assert findings(examination) == []


def test_copies_and_near_duplicates_and_those_of_training_pictures(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for seed in range(4):
        picture(seed, SHAPE).save(tmp_path / "train" / f"{seed}.png")
        picture(seed + 50, SHAPE).save(tmp_path / "test" / f"{seed}.png")
    shutil.copy(tmp_path / "train" / "0.png", tmp_path / "test" / "copy.png")
    picture(1, SHAPE).save(tmp_path / "test" / "saved anew.jpg", quality=80)
    picture(2, SHAPE).resize((100, 80)).save(tmp_path / "train" / "smaller.png")
    shutil.copy(tmp_path / "train" / "smaller.png", tmp_path / "train" / "smaller too.png")
    named = _named(examine(tmp_path, size=32))
    assert named == {
        "copy-of-training": {"test/copy.png": "train/0.png"},
        "near-training": {"test/saved anew.jpg": "train/1.png"},
        "copy": {"train/0.png": "test/copy.png", "train/smaller.png": "train/smaller too.png"},
        "near": {"train/1.png": "test/saved anew.jpg", "train/smaller too.png": "train/2.png"},
    }


def test_pictures_of_one_tone_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{colour}.png")
    assert _named(examine(tmp_path, size=32)) == {"one-tone": {"blue.png": "", "red.png": ""}}


@pytest.mark.filterwarnings("ignore")
def test_training_finds_the_same_without_reading_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_odd_files(tmp_path / "photos")
    folder = str(tmp_path / "photos")
    by_doctor = examine(folder, size=32)
    dataset = open_dataset(Data(folder=folder), size=32, seed=0, cache=str(tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read anew")

    monkeypatch.setattr(Image, "open", refuse)
    by_training = examined(dataset, folder)
    assert by_training == by_doctor
    assert findings(by_training) == findings(by_doctor)


def test_a_folder_of_left_out_pictures_is_examined_and_an_empty_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    assert [finding.use for finding in findings(examine(tmp_path, size=32))] == ["left out"]
    (tmp_path / "a.heic").rename(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="no images in"):
        examine(tmp_path, size=32)


def test_the_manifest_has_a_row_for_each_file(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture(1).convert("CMYK").save(folder / "a.jpg")
    picture(2).save(folder / os.fsdecode(b"caf\xe9.png"))
    (folder / "b.png").write_bytes(b"")
    (folder / "notes.txt").write_text("x")
    examination = examine(folder, size=64)
    save_manifest(examination, tmp_path / "m.json", findings(examination))
    stored = json.loads((tmp_path / "m.json").read_text(encoding="ascii"))
    rows = {row.pop("file"): row for row in stored.pop("files")}
    small = {"use": "to look at", "name": "small", "what": "is smaller than 64 px: enlarged", "files": 2}
    assert stored.pop("findings")[1] == small
    assert stored == {
        "format_version": 1, "folder": str(folder), "size": 64, "used": 2, "left_out": 1, "passed_over": 1,
    }  # fmt: skip
    digest = hashlib.sha256((folder / "a.jpg").read_bytes()).hexdigest()
    assert rows["a.jpg"] == {
        "use": "used", "part": "train", "kind": "JPEG", "width": 48, "height": 40, "sha256": digest,
        "findings": {"small": "48 x 40", "cmyk": ""},
    }  # fmt: skip
    assert rows["b.png"] == {"use": "left out", "reason": "is not an image: the file is empty"}
    assert rows["notes.txt"] == {"use": "passed over", "reason": "is no picture, by its suffix"}
    assert set(rows) == {"a.jpg", os.fsdecode(b"caf\xe9.png"), "b.png", "notes.txt"}


def test_reasons_are_grouped_and_a_line_names_the_first_files() -> None:
    cut = [(f"{name}.png", f"is cut short: {count} bytes") for count, name in enumerate("abcd")]
    one, other = by_reason("left out", [*cut, ("e.png", "has too many pixels (the limit is 9)")])
    assert one == Finding("left out", "", "is cut short", {f"{n}.png": f"{i} bytes" for i, n in enumerate("abcd")})
    assert one.line() == "4 left out: a.png is cut short; also b.png, c.png, ..."
    assert other.line() == "1 left out: e.png has too many pixels (the limit is 9)"


def test_pixels_are_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        picture(seed).save(tmp_path / f"{seed}.png")
    kept = []
    monkeypatch.setattr(
        "open_tunit.data.doctor.produced", lambda listed, read, *_: kept.extend(read(*item) for item in listed) or kept
    )
    examine(tmp_path, size=512)
    assert [row.pixels for row in kept] == [None] * 3
    assert all(row.inspection is not None for row in kept)
