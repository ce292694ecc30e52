"""opening.py: what is told of the images before training begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import (
    TRAINED,
    Begin,
    into_class_folders,
    stored_settings,
    trained,
)

from open_tunit.media import images


def test_few_images_shrink_batches_and_queue_with_a_note(config: Begin) -> None:
    set = {"training.batch": 32, "training.guiding_batch": 64, "training.queue": 1000}
    asked = config(steps=2, joint_start=1, set=set)
    _, said = trained(asked)
    training = stored_settings(asked)["training"]
    assert (training["batch"], training["guiding_batch"], training["queue"]) == (TRAINED, TRAINED, TRAINED // 2)
    assert training["r1_weight"] == asked.training.r1_weight
    assert f"warning: {TRAINED} training images are few" in said
    assert f"the batch is {TRAINED} instead of 32" in said
    state = torch.load(Path(asked.out) / "checkpoints" / "00000002.pt", weights_only=True)
    assert state["keys"].shape == (TRAINED // 2, 8)


def test_fewer_than_ten_images_per_domain_are_told(config: Begin, tmp_path: Path) -> None:
    told = "21 training images are fewer than 10 for each of 3 domains: some will stay empty"
    said = trained(config(steps=1, domains=3))[1]
    assert told in said
    assert "expect domains to be found" not in said
    assert "for each of" not in trained(config(steps=1, domains=2, out=str(tmp_path / "enough")))[1]


def test_the_domains_that_labels_name_are_those_with_few_images(config: Begin, picture_folder: Path) -> None:
    into_class_folders(picture_folder)
    said = trained(config(steps=1, domains=5, set={"data.labels": "folders"}))[1]
    assert "the labels name 2 domains: disc, stripe" in said
    assert "for each of" not in said


def test_unreadable_files_are_counted(config: Begin, picture_folder: Path) -> None:
    (picture_folder / "broken [a].png").write_bytes(b"no picture")
    (picture_folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    asked = config(steps=1)
    _, said = trained(asked)
    assert "warning: 1 left out: broken [a].png is not an image, or of a kind that cannot be read\n" in said
    assert "warning: 1 left out: cut.jpg cannot be decoded\n" in said
    listed = json.loads((Path(asked.out) / "data.json").read_text())["unreadable"]
    assert [path for path, _ in listed] == ["broken [a].png", "cut.jpg"]


def test_what_became_of_each_file_is_told_each_time_and_read_once(
    config: Begin, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (40, 40))
    Image.fromarray(deep.astype(np.uint16)).save(picture_folder / "twelve.png")
    (picture_folder / "phone.heic").write_bytes(b"x")
    (picture_folder / ".DS_Store").write_bytes(b"x")
    read: list[str] = []
    original = images.read_image

    def counting(path: Path, **options: Any) -> Image.Image:
        read.append(path.name)
        return original(path, **options)

    monkeypatch.setattr(images, "read_image", counting)
    for steps in (1, 2):
        asked = config(steps=steps)
        _, said = trained(asked)
        files = Path(asked.out) / "files.json"
        assert "warning: 1 left out: phone.heic is HEIC, which is not read" in said
        assert "1 converted: twelve.png is 12-bit grey in 16 bits: white is taken to be 4095\n" in said
        assert f"what became of each file is in {files}\n" in said
        assert ".DS_Store" not in said
        uses = {row["file"]: row["use"] for row in json.loads(files.read_text())["files"]}
        assert len(uses) == 24 + 3
        assert uses["twelve.png"] == "used"
        assert (uses["phone.heic"], uses[".DS_Store"]) == ("left out", "passed over")
    assert len(read) == len(set(read)) == 25


def test_labels_without_a_picture_make_no_domain(config: Begin, picture_folder: Path) -> None:
    into_class_folders(picture_folder)
    (picture_folder / "empty").mkdir()
    (picture_folder / "empty" / "a.heic").write_bytes(b"x")
    model, said = trained(config(steps=1, joint_start=None, domains=5, set={"data.labels": "folders"}))
    assert "empty/a.heic" in said
    assert model.config.domains == 2
