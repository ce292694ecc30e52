"""dataset.py: a folder or the built-in set as one Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from open_tunit.data import critters, dataset
from open_tunit.data.dataset import (
    Dataset,
    fingerprints,
    for_training,
    is_critters,
    open_dataset,
    parse_critters,
    same_images,
    same_labels,
)
from open_tunit.settings.config import ConfigError, Data


def _write(root: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)


def _open(root: Path, **settings: Any) -> Dataset:
    return open_dataset(Data(folder=str(root), **settings), size=8, seed=0)


@pytest.fixture
def few_critters(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("CRITTERS_TRAIN", 30), ("CRITTERS_VAL", 4), ("CRITTERS_TEST", 2)):
        monkeypatch.setattr(dataset, name, count)


def test_a_folder(tmp_path: Path) -> None:
    names = [f"{index:03d}.png" for index in range(60)]
    _write(tmp_path, names)
    (tmp_path / "050x.png").write_bytes(b"no picture")
    opened = _open(tmp_path)
    assert opened.files == tuple(names)
    assert opened.images.shape == (60, 8, 8, 3)
    assert np.array_equal(opened.images[7], np.asarray(Image.open(tmp_path / "007.png")))
    assert [name for name, _ in opened.unreadable] == ["050x.png"]
    assert opened.labels.tolist() == [-1] * 60
    assert opened.label_names == ()
    parts = [opened.indices(part) for part in ("train", "val", "test")]
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    assert len(parts[0]) > 45
    assert parts[0].dtype == np.int64
    with pytest.raises(ValueError, match="split is 'dev'; expected one of train, val, test"):
        opened.indices("dev")


def test_folders_of_parts_and_labels(tmp_path: Path) -> None:
    _write(tmp_path, [f"{part}/{kind}/{i}.png" for part in ("train", "val", "test") for kind in "ab" for i in range(3)])
    opened = _open(tmp_path, labels="folders")
    assert opened.label_names == ("a", "b")
    assert {opened.files[index] for index in opened.indices("val")} == {f"val/{k}/{i}.png" for k in "ab" for i in "012"}
    assert [opened.label_names[label] for label in opened.labels] == [file.split("/")[1] for file in opened.files]


def test_label_fraction_withholds_training_labels_alone(tmp_path: Path) -> None:
    _write(tmp_path, [f"{part}/{kind}/{i}.png" for part in ("train", "val", "test") for kind in "ab" for i in range(8)])
    opened = _open(tmp_path, labels="folders", label_fraction=0.25)
    assert np.bincount(opened.labels[opened.indices("train")] + 1).tolist() == [12, 2, 2]
    assert (opened.labels[opened.indices("val")] >= 0).all()
    again = open_dataset(Data(folder=str(tmp_path), labels="folders", label_fraction=0.25), size=8, seed=1)
    assert not np.array_equal(opened.labels, again.labels)


def test_a_csv_may_name_unreadable_files(tmp_path: Path) -> None:
    _write(tmp_path / "photos", ["a.png", "c.png", "d.png"])
    (tmp_path / "photos" / "b.png").write_bytes(b"no picture")
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\nb.png,y\nc.png,y\n")
    opened = _open(tmp_path / "photos", labels=str(tmp_path / "labels.csv"))
    assert opened.files == ("a.png", "c.png", "d.png")
    assert opened.labels.tolist() == [0, 1, -1]


def test_labels_without_a_training_picture_are_no_domains(tmp_path: Path) -> None:
    _write(tmp_path, [f"{part}/{kind}/{i}.png" for part in ("train", "val", "test") for kind in "bd" for i in range(3)])
    _write(tmp_path, ["val/a/0.png", "test/a/0.png"])
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "train" / "c" / "0.png").write_bytes(b"no picture")
    (tmp_path / "train" / "c" / "1.heic").write_bytes(b"x")
    opened = _open(tmp_path, labels="folders")
    assert opened.label_names == ("a", "b", "d")
    trained, empty = for_training(opened)
    assert (trained.label_names, empty) == (("b", "d"), ("a",))
    expected = [{"b": 0, "d": 1}.get(file.split("/")[1], -1) for file in opened.files]
    assert trained.labels.tolist() == expected
    assert -1 in expected
    assert fingerprints(trained) == fingerprints(opened)


def test_labels_that_all_have_training_pictures_stay_as_they_are(tmp_path: Path) -> None:
    _write(tmp_path, [f"{part}/{kind}/{i}.png" for part in ("train", "test") for kind in "ab" for i in range(3)])
    opened = _open(tmp_path, labels="folders")
    assert for_training(opened) == (opened, ())
    (tmp_path / "held-out.csv").write_text("file,label\ntest/a/0.png,a\ntest/b/0.png,b\n")
    measured = _open(tmp_path, labels=str(tmp_path / "held-out.csv"))
    assert for_training(measured) == (measured, ()), "labels for measuring alone supervise nothing"


def test_one_label_left_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path, ["train/a/0.png", "train/a/1.png", "test/b/0.png"])
    with pytest.raises(ValueError, match=r"only a has training images that can be read, b has none; at least 2"):
        for_training(_open(tmp_path, labels="folders"))


def test_too_few_pictures_name_what_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path, ["a.png"])
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"has 1 image; at least 2 are needed; 1 are left out: b\.png is not an image"):
        _open(tmp_path)


def test_split_and_fingerprint_follow_contents_not_names(tmp_path: Path) -> None:
    _write(tmp_path / "one", [f"{index:02d}.png" for index in range(40)])
    _write(tmp_path / "two", [f"sub/{index:02d}.png" for index in range(40)])
    _write(tmp_path / "reversed", [f"{39 - index:02d}.png" for index in range(40)])
    one, two, back = (_open(tmp_path / name) for name in ("one", "two", "reversed"))
    assert one.split.tolist() == two.split.tolist() == back.split.tolist()[::-1]
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != back.fingerprint  # training would meet its images in another order
    assert one.fingerprint_v1 == back.fingerprint_v1
    assert set(one.split) > {"train"}


def test_parts_and_labels_have_fingerprints(tmp_path: Path) -> None:
    names = [f"{part}/{kind}/{index}.png" for part in ("train", "test") for kind in "ab" for index in range(3)]
    _write(tmp_path, names)
    first = _open(tmp_path, labels="folders")
    stored = fingerprints(first)
    assert same_images(stored, _open(tmp_path))
    assert (_open(tmp_path).labels_fingerprint, first.labels_fingerprint) != (None, None)
    assert _open(tmp_path, labels="folders", label_fraction=0.5).labels_fingerprint == first.labels_fingerprint

    (tmp_path / "train" / "b").rename(tmp_path / "train" / "c")
    renamed = _open(tmp_path, labels="folders")
    assert same_images(stored, renamed)
    assert not same_labels(stored, renamed)
    assert same_labels({"fingerprint": first.fingerprint_v1}, renamed)  # of a run of before

    (tmp_path / "train" / "a" / "0.png").rename(tmp_path / "0.png")
    (tmp_path / "test" / "a" / "0.png").rename(tmp_path / "train" / "a" / "0.png")
    (tmp_path / "0.png").rename(tmp_path / "test" / "a" / "0.png")
    exchanged = _open(tmp_path)
    assert not same_images(stored, exchanged)
    assert same_images({"fingerprint": first.fingerprint_v1}, exchanged)


def test_the_fingerprint_names_contents_size_and_fit(tmp_path: Path) -> None:
    _write(tmp_path, [f"{index}.png" for index in range(4)])
    prints = {_open(tmp_path).fingerprint, _open(tmp_path, fit="pad").fingerprint}
    prints.add(open_dataset(Data(folder=str(tmp_path)), size=4, seed=0).fingerprint)
    assert _open(tmp_path).fingerprint in prints
    Image.new("RGB", (8, 8)).save(tmp_path / "3.png")
    prints.add(_open(tmp_path).fingerprint)
    assert len(prints) == 4
    assert all(len(text) == 64 for text in prints)


def test_too_few_images(tmp_path: Path) -> None:
    _write(tmp_path / "one", ["a.png"])
    with pytest.raises(ValueError, match=r"one has 1 image; at least 2 are needed"):
        _open(tmp_path / "one")
    _write(tmp_path / "mostly_val", ["train/a.png", "val/b.png", "val/c.png"])
    with pytest.raises(ValueError, match=r"mostly_val has 1 image to train on; at least 2 are needed"):
        _open(tmp_path / "mostly_val")
    _write(tmp_path / "two", ["a.png", "b.png"])
    assert len(_open(tmp_path / "two").indices("train")) == 2
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        _open(tmp_path / "nowhere")


def test_the_cache_is_where_it_is_asked_for(tmp_path: Path) -> None:
    _write(tmp_path / "photos", ["a.png", "b.png"])
    seen: list[tuple[int, int]] = []
    data = Data(folder=str(tmp_path / "photos"))
    for _ in range(2):
        open_dataset(data, size=8, seed=0, cache=str(tmp_path / "c"), progress=lambda *done: seen.append(done))
    assert len(list((tmp_path / "c").iterdir())) == 1
    assert seen == [(1, 2), (2, 2)]


def test_critters_specs() -> None:
    assert parse_critters("critters") == (5, None)
    assert parse_critters("critters:7") == (7, None)
    assert parse_critters("critters:3:60/30/10") == (3, pytest.approx((0.6, 0.3, 0.1)))
    assert parse_critters("critters:2:3/1") == (2, (0.75, 0.25))
    assert is_critters("critters")
    assert is_critters("critters:4")
    assert not is_critters("critters_of_mine")
    assert not is_critters("./critters")


@pytest.mark.parametrize(
    "spec", ["critters:", "critters:x", "critters:1", "critters:0", "critters:999", "critters:-3", "critters:2.5"]
)
def test_critters_of_impossible_number(spec: str) -> None:
    with pytest.raises(ConfigError, match=rf"data is '{spec}'; expected critters:K with K from 2 to"):
        parse_critters(spec)


@pytest.mark.parametrize("shares", ["", "1/1", "1/1/1/1", "1/1/x", "1/1/0", "1/1/-1", "1/1/nan", "1/1/inf", "1/1/1:1"])
def test_critters_of_impossible_shares(shares: str) -> None:
    with pytest.raises(ConfigError, match="expected 3 shares above 0, as in critters:3:60/30/10"):
        parse_critters(f"critters:3:{shares}")


@pytest.mark.usefixtures("few_critters")
def test_critters() -> None:
    data = Data(folder="critters:4", labels="folders")
    opened = open_dataset(data, size=32, seed=100)
    assert opened.images.shape == (36, 32, 32, 3)
    assert opened.unreadable == ()
    assert opened.split.tolist() == ["train"] * 30 + ["val"] * 4 + ["test"] * 2
    assert opened.label_names == tuple(critters.SPECIES[:4])
    for index in (0, 29, 30, 35):
        critter = critters.critter(100, index, species=4, shares=None)
        assert opened.labels[index] == critter.species
        assert np.array_equal(opened.images[index], critters.draw(critter, 32))
    hidden = open_dataset(Data(folder="critters:4"), size=32, seed=100)
    assert set(hidden.labels) == {-1}
    assert hidden.label_names == ()
    assert np.array_equal(hidden.images, opened.images)
    assert hidden.fingerprint == opened.fingerprint
    assert open_dataset(data, size=32, seed=101).fingerprint != opened.fingerprint


@pytest.mark.usefixtures("few_critters")
def test_critters_with_shares_and_some_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CRITTERS_TRAIN", 100)
    data = Data(folder="critters:2:9/1", labels="folders")
    opened = open_dataset(data, size=32, seed=100)
    drawn = [critters.draw(critters.critter(100, index, species=2, shares=(0.9, 0.1)), 32) for index in range(106)]
    assert np.array_equal(opened.images, drawn)
    labels = opened.labels[:100]
    assert np.count_nonzero(labels == 0) > 75
    assert np.count_nonzero(labels == 1) > 0
    some = open_dataset(Data(folder="critters:2:9/1", labels="folders", label_fraction=0.1), size=32, seed=100)
    assert 9 <= np.count_nonzero(some.labels[some.indices("train")] >= 0) <= 11


def test_critters_have_no_csv() -> None:
    with pytest.raises(ConfigError, match=r"labels is 'mine\.csv'"):
        open_dataset(Data(folder="critters:3", labels="mine.csv"), size=32, seed=0)


def test_the_size_of_the_built_in_set() -> None:
    assert (dataset.CRITTERS_TRAIN, dataset.CRITTERS_VAL, dataset.CRITTERS_TEST) == (4000, 500, 500)


def test_a_real_set(fixtures: Path) -> None:
    emoji = fixtures / "data" / "emoji4_64"
    opened = open_dataset(Data(folder=str(emoji), labels="folders"), size=32, seed=0)
    assert opened.images.shape == (4360, 32, 32, 3)
    assert opened.unreadable == ()
    assert {opened.files[index].split("/")[0] for index in opened.indices("train")} == {"train"}
    held_out = np.concatenate([opened.indices("val"), opened.indices("test")])
    assert {opened.files[index].split("/")[0] for index in held_out} == {"val"}
    assert 0.35 < len(opened.indices("val")) / len(held_out) < 0.65
    assert np.bincount(opened.labels).tolist() == [1090] * 4
