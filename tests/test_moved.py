"""A run is its images and settings, not the paths of anything."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import train_tiny

from open_tunit import Config
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.runs import DATA, DifferentRunError, Run


def _edit_data(run: Path, **changes: Any) -> None:
    known = json.loads((run / DATA).read_text())
    known = {name: value for name, value in (known | changes).items() if value is not None}
    (run / DATA).write_text(json.dumps(known))


def test_a_run_goes_on_elsewhere(split_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(split_folder.parent)
    run = train_tiny(Path(split_folder.name), Path("run"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    there = Path(os.path.relpath(split_folder.parent / run))
    evaluate_run(there, asked=Asked(pairs=4))  # its images are found
    train_tiny(Path(os.path.relpath(split_folder)), there, steps=3)

    there.rename("moved")
    split_folder.rename("pictures")
    train_tiny(Path("pictures"), Path("moved"), steps=4)
    assert Run(Path("moved")).model_step() == 4
    assert evaluate_run(Path("moved"), asked=Asked(pairs=4))["held_out"]
    text = (Path("moved") / "config.yaml").read_text()
    assert Config.from_yaml(text).data.folder == str(tmp_path / "sub" / "pictures")


def test_exchanged_parts_and_other_labels_are_another_run(split_folder: Path, tmp_path: Path) -> None:
    for kind in ("disc", "stripe"):
        (split_folder / kind).mkdir()
        for path in split_folder.glob(f"{kind}_*.png"):
            path.rename(split_folder / kind / path.name)
    labelled = {"overrides": {"data.labels": "folders"}}
    run = train_tiny(split_folder, tmp_path / "run", **labelled)
    (split_folder / "disc").rename(split_folder / "dish")
    with pytest.raises(DifferentRunError, match=r"the labels of .*pictures changed since"):
        train_tiny(split_folder, run, steps=3, **labelled)
    (split_folder / "dish").rename(split_folder / "disc")
    train_tiny(split_folder, run, steps=3, **labelled)

    one, other = split_folder / "disc" / "disc_11.png", split_folder / "test" / "disc" / "disc_00.png"
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        train_tiny(split_folder, run, steps=4, **labelled)
    _edit_data(run, fingerprint="0", fingerprint_version=None, labels_fingerprint=None)
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        train_tiny(split_folder, run, steps=4, **labelled)


def test_runs_of_before_go_on(picture_folder: Path, tmp_path: Path) -> None:
    run = train_tiny(picture_folder, tmp_path / "run")
    config = Config.from_yaml((run / "config.yaml").read_text())
    former = open_dataset(config.data, size=config.model.size, seed=config.seed).fingerprint_v1
    _edit_data(run, fingerprint=former, fingerprint_version=None, labels_fingerprint=None)
    train_tiny(picture_folder, run, steps=3)
    assert Run(run).model_step() == 3


def test_the_model_that_a_run_starts_from_may_move_and_not_change(picture_folder: Path, tmp_path: Path) -> None:
    first = train_tiny(picture_folder, tmp_path / "first")
    shutil.copytree(first / "model", tmp_path / "copy")
    run = train_tiny(picture_folder, tmp_path / "run", init=str(first / "model"))
    train_tiny(picture_folder, run, steps=3, init=str(tmp_path / "copy"))
    train_tiny(picture_folder, first, steps=3)
    with pytest.raises(DifferentRunError, match=r"the model .*first/model changed since"):
        train_tiny(picture_folder, run, steps=4, init=str(first / "model"))
