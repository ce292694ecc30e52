"""labels.py: labels from folders and CSV files, and a share of them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from open_tunit.data.labels import keep_fraction, read_labels
from open_tunit.data.scan import scan

FILES = ("a.jpg", "train/a.jpg", "train/b.jpg", "val/a.jpg")


def _csv(tmp_path: Path, text: str) -> str:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    return str(tmp_path / "labels.csv")


def test_no_labels() -> None:
    labels, names = read_labels(None, Path("photos"), FILES)
    assert labels.tolist() == [-1] * 4
    assert labels.dtype == np.int64
    assert names == ()


def test_folders() -> None:
    files = ("cat/1.png", "dog/puppy/2.png", "root.png", "test/dog/3.png", "train/cat/sub/4.png", "valid/5.png")
    labels, names = read_labels("folders", Path("photos"), files)
    assert names == ("cat", "dog")
    assert labels.tolist() == [0, 1, -1, 1, 0, -1]


def test_csv_with_unknown_and_missing_rows(tmp_path: Path) -> None:
    path = _csv(tmp_path, "\ufefffile,label,note\na.jpg,zebra,x\ntrain/a.jpg,,\nval/a.jpg, -1 ,\n./train/b.jpg,ape,y\n")
    labels, names = read_labels(path, tmp_path, FILES)
    assert names == ("ape", "zebra")
    assert labels.tolist() == [1, -1, 0, -1]


def test_csv_with_a_split_column_names_files_inside_it(tmp_path: Path) -> None:
    path = _csv(tmp_path, "split,file,label\ntrain,a.jpg,x\nval,a.jpg,y\ntrain,b.jpg,y\n")
    labels, _ = read_labels(path, tmp_path, FILES)
    assert labels.tolist() == [-1, 0, 1, 1]


def test_numbers_keep_their_order(tmp_path: Path) -> None:
    path = _csv(tmp_path, "file,label\na.jpg,10\ntrain/a.jpg,9\ntrain/b.jpg,1\n")
    labels, names = read_labels(path, tmp_path, FILES)
    assert names == ("1", "9", "10")
    assert labels.tolist() == [2, 1, 0, -1]


def test_csv_with_strangers(tmp_path: Path) -> None:
    path = _csv(tmp_path, "file,label\n" + "".join(f"no{index}.jpg,x\n" for index in range(7)) + "a.jpg,y\n")
    with pytest.raises(ValueError, match=r"names 7 files that are not in .*: no0\.jpg, no1\.jpg, no2\.jpg, \.\.\."):
        read_labels(path, tmp_path, FILES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,x\ntrain/a.jpg,y\n", "lacks the column file and label; its first line must hold file,label"),
        ("file,class\na.jpg,x\n", "lacks the column label; .* it holds file,class"),
        ("", "it holds nothing"),
        ("file,label\na.jpg,x\nval/a.jpg,x\n", "1 label, 'x'"),
        ("file,label\n", "no label for 4 images"),
        ("file,label\na.jpg,x\na.jpg,y\n", r"gives a\.jpg two labels, 'x' and 'y'"),
        ("file,label\n,x\na.jpg,y\n", r"1 files .*\(empty\)"),
    ],
)
def test_csv_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(_csv(tmp_path, text), tmp_path, FILES)


def test_files_that_are_no_csv(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.csv, which is no file; expected `folders` or a CSV"):
        read_labels(str(tmp_path / "no.csv"), tmp_path, FILES)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="not a CSV in UTF-8"):
        read_labels(str(tmp_path / "binary.csv"), tmp_path, FILES)


def test_folders_without_two_labels() -> None:
    with pytest.raises(ValueError, match="1 label, 'cat' for 2 images; expected one folder per domain in photos"):
        read_labels("folders", Path("photos"), ("cat/a.png", "b.png"))
    with pytest.raises(ValueError, match="no label"):
        read_labels("folders", Path("photos"), ("a.png", "train/b.png"))


def test_keep_fraction_per_class() -> None:
    labels = np.array([0] * 40 + [1] * 10 + [2] + [-1] * 9)
    kept = keep_fraction(labels, 0.2, seed=3)
    assert [np.count_nonzero(kept == label) for label in (0, 1, 2)] == [8, 2, 1]
    assert (kept[kept >= 0] == labels[kept >= 0]).all()
    assert np.count_nonzero(labels == 0) == 40
    assert np.array_equal(keep_fraction(labels, 1.0, seed=3), labels)


def test_keep_fraction_depends_on_the_seed_and_nests() -> None:
    labels = np.repeat([0, 1], 50)
    some, more = keep_fraction(labels, 0.1, seed=0), keep_fraction(labels, 0.5, seed=0)
    assert np.array_equal(some, keep_fraction(labels, 0.1, seed=0))
    assert not np.array_equal(some, keep_fraction(labels, 0.1, seed=1))
    assert set(np.flatnonzero(some >= 0)) < set(np.flatnonzero(more >= 0))
    assert not np.array_equal(some[:50] >= 0, some[50:] >= 0)


def test_real_sets(fixtures: Path) -> None:
    emoji, cats = fixtures / "data" / "emoji4_64", fixtures / "data" / "afhq_cat128"
    labels, names = read_labels("folders", emoji, scan(emoji))
    assert names == ("blob", "emojitwo", "emojitwo_bw", "noto")
    assert np.bincount(labels).tolist() == [1090] * 4
    labels, names = read_labels(str(cats / "labels.csv"), cats, scan(cats))
    assert len(labels) == 5153
    assert "egyptian_cat" in names
    assert (labels >= 0).all()


def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "gattàé") for form in ("NFC", "NFD"))
    files = (f"{decomposed}1.png", f"{composed}2.png", "b.png")
    path = _csv(tmp_path, f"file,label\n{composed}1.png,{composed}\n{decomposed}2.png,{decomposed}\nb.png,x\n")
    labels, names = read_labels(path, tmp_path, files)
    assert names == (composed, "x")
    assert labels.tolist() == [0, 0, 1]
    folders = (f"train/{decomposed}/1.png", f"test/{composed}/2.png", "x/3.png")
    assert read_labels("folders", tmp_path, folders)[0].tolist() == [0, 0, 1]


def test_blank_rows_are_passed_over(tmp_path: Path) -> None:
    labels, _ = read_labels(_csv(tmp_path, "file,label\na.jpg,x\n\n,\n , \nval/a.jpg,y\n"), tmp_path, FILES)
    assert labels.tolist() == [0, -1, -1, 1]


def test_labels_of_unreadable_files_alone_are_none(tmp_path: Path) -> None:
    labels, names = read_labels("folders", tmp_path, ("cat/a.png", "dog/b.png"), ("broken/c.png",))
    assert names == ("cat", "dog")
    assert labels.tolist() == [0, 1]
    path = _csv(tmp_path, "file,label\na.jpg,x\nval/a.jpg,y\nbroken.jpg,z\n")
    labels, names = read_labels(path, tmp_path, FILES, ("broken.jpg",))
    assert names == ("x", "y")
    assert labels.tolist() == [0, -1, -1, 1]
