"""evaluation/label_probe.py: whose label translations show, on a network that is not the model's own."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import copier, keeper
from torch import Tensor, nn

from open_tunit import TUNIT, evaluate
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.selection import select_pairs
from open_tunit.media.images import from_uint8
from open_tunit.settings.config import Data

FIGURES = ("label_probe_accuracy_coarse", "label_reached_coarse", "label_kept_coarse")


class _Coarse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 4).flatten(1)


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "coarse.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Coarse()).save(str(path))
    return str(path)


@pytest.fixture
def halved_folder(picture_folder: Path) -> Path:
    """Half of the discs and of the stripes in train/, half in test/, each in a folder of its kind."""
    for number, path in enumerate(sorted(picture_folder.glob("*.png"))):
        folder = picture_folder / ("train", "test")[number % 2] / path.name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    return picture_folder


def measured(model: TUNIT, folder: Path, network: str | None, **asked: str) -> dict[str, Any]:
    given = Asked(features=network, pairs=24, **asked)  # type: ignore[arg-type]
    return evaluate(model, str(folder), labels=str(folder.parent / "labels.csv"), asked=given)


def write_labels(folder: Path, changed: dict[str, str]) -> None:
    """Of every picture its kind, but for the `changed`."""
    lines = ["file,label"]
    for path in sorted(folder.rglob("*.png")):
        lines.append(f"{path.relative_to(folder)},{changed.get(path.name, path.parent.name)}")
    (folder.parent / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_what_leaves_sources_as_they_are_keeps_their_label(halved_folder: Path, network: str) -> None:
    write_labels(halved_folder, {})
    figures = measured(keeper(), halved_folder, network)
    assert [figures[name] for name in FIGURES] == [1, 0, 1]
    assert figures["label_reached_coarse_source_unchanged"] == 0


def test_what_copies_the_reference_reaches_its_label(halved_folder: Path, network: str) -> None:
    write_labels(halved_folder, {})
    dataset = open_dataset(Data(folder=str(halved_folder)), size=32, seed=0)
    figures = measured(copier(from_uint8(np.asarray(dataset.images))), halved_folder, network)
    assert [figures[name] for name in FIGURES] == [1, 1, 0]
    assert figures["label_reached_coarse_source_unchanged"] == 0


def test_by_hand_where_some_are_labelled_wrongly_and_one_not_at_all(halved_folder: Path, network: str) -> None:
    """The probe, fitted to other pictures, calls each by its kind; the labels decide which pairs count, and as what."""
    changed = {"disc_01.png": "stripe", "disc_05.png": "stripe", "disc_09.png": "stripe", "stripe_03.png": ""}
    write_labels(halved_folder, changed)
    figures = measured(keeper(), halved_folder, network)
    dataset = open_dataset(Data(folder=str(halved_folder)), size=32, seed=0)
    selection = select_pairs(dataset, pairs=24)
    files = [Path(dataset.files[index]).name for index in selection.images]
    kinds = [name.split("_")[0] for name in files]
    labels = [changed.get(name, kind) for name, kind in zip(files, kinds, strict=True)]
    pairs = [
        (source, reference)
        for source, reference in zip(selection.sources, selection.references, strict=True)
        if labels[source] and labels[reference] and labels[source] != labels[reference]
    ]
    reached = np.mean([kinds[source] == labels[reference] for source, reference in pairs])
    kept = np.mean([kinds[source] == labels[source] for source, reference in pairs])
    known = [place for place, label in enumerate(labels) if label]
    right = np.mean([kinds[place] == labels[place] for place in known])
    assert len(known) == len(labels) - 1
    assert 0 < reached < 1
    assert [figures[name] for name in FIGURES] == pytest.approx([right, reached, kept])
    assert figures["label_reached_coarse_source_unchanged"] == pytest.approx(reached)


def test_not_by_e_itself_nor_on_the_probes_own_pictures_nor_of_one_label(halved_folder: Path, network: str) -> None:
    write_labels(halved_folder, {})
    for asked, note in ((None, ""), ("train", "would be the probe's own"), ("all", "would be the probe's own")):
        given = {} if asked is None else {"part": asked}
        figures = measured(keeper(), halved_folder, None if asked is None else network, **given)
        assert not any("label_reached" in name for name in figures)
        assert any(note in line for line in figures["notes"])
    write_labels(halved_folder, {path.name: "disc" for path in (halved_folder / "train").rglob("*.png")})
    figures = measured(keeper(), halved_folder, network)
    assert "label_reached_coarse" not in figures
    assert any(line.startswith("labels reached: 1 label") for line in figures["notes"])


def test_labels_that_the_probe_never_saw_and_copies_of_measured_pictures_do_not_count(
    halved_folder: Path, network: str
) -> None:
    """A kind that test alone has, though numbered between the others, and a copy of it under another's label."""
    write_labels(halved_folder, {"disc_01.png": "e-other", "disc_03.png": "e-other", "copy.png": "stripe"})
    before = measured(keeper(), halved_folder, network)
    shutil.copy(halved_folder / "test/disc/disc_01.png", halved_folder / "train/disc/copy.png")
    write_labels(halved_folder, {"disc_01.png": "e-other", "disc_03.png": "e-other", "copy.png": "stripe"})
    figures = measured(keeper(), halved_folder, network)
    for found in (before, figures):
        assert [found[name] for name in FIGURES] == [1, 0, 1]
        assert found["label_probe_images_coarse"] == before["label_probe_images_coarse"]


def test_few_labels_among_many_training_pictures_are_all_used(
    halved_folder: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_tunit.evaluation.translations.MOST_TRAINING", 4)
    dataset = open_dataset(Data(folder=str(halved_folder)), size=32, seed=0)
    training = [Path(dataset.files[index]).name for index in dataset.indices("train")]
    kept = {name for kind in ("disc", "stripe") for name in [one for one in training if one.startswith(kind)][:2]}
    write_labels(halved_folder, {name: "" for name in training if name not in kept})
    assert measured(keeper(), halved_folder, network)["label_probe_images_coarse"] == 4


def test_too_many_labels_are_told(halved_folder: Path, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_tunit.evaluation.label_probe.MOST_LABELS", 1)
    write_labels(halved_folder, {})
    assert "labels reached: 2 labels; the probe has at most 1" in measured(keeper(), halved_folder, network)["notes"]
