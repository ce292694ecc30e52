"""snapshot.py: what the model of a labelled run calls its domains, and which images it counts to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import into_class_folders, train_tiny
from torch import Tensor

from open_tunit import TUNIT
from open_tunit.cli.main import main
from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.media import images
from open_tunit.settings.config import Config

PAPER = {"model.palette_dim": 0, "model.projection_dim": 0}


@pytest.fixture
def labelled(picture_folder: Path) -> Path:
    """The picture folder with its pictures in `disc` and `stripe`."""
    into_class_folders(picture_folder)
    return picture_folder


def some_labels(folder: Path) -> str:
    """A table with the labels of every third picture of the picture folder."""
    table = folder.parent / "some.csv"
    names = sorted(path.name for path in folder.iterdir())[::3]
    table.write_text("\n".join(["file,label", *(f"{name},{name.split('_')[0]}" for name in names)]))
    return str(table)


def trained(data: Path, out: Path, labels: str, **fields: Any) -> TUNIT:
    overrides = {"data.labels": labels} | fields.pop("overrides", {})
    return TUNIT.from_pretrained(train_tiny(data, out, overrides=overrides, **fields) / "model")


def opened(run: Path) -> tuple[Dataset, Tensor, Tensor]:
    """The run's data set, its training images (N, 3, S, S) and their labels (N,)."""
    config = Config.from_yaml((run / "config.yaml").read_text())
    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed)
    chosen = dataset.indices("train")
    return dataset, images.from_uint8(dataset.images[chosen]), torch.from_numpy(dataset.labels[chosen])


def test_the_papers_domain_head_is_fitted_to_the_labels_and_stays_untrained_in_the_run(
    labelled: Path, tmp_path: Path
) -> None:
    model = trained(labelled, tmp_path / "run", "folders", preset="paper", overrides=PAPER)
    dataset, x, labels = opened(tmp_path / "run")
    assert model.about["supervision"] == "all"
    assert torch.equal(model.domains(x).argmax(dim=1), labels)
    held_out = images.from_uint8(dataset.images[dataset.split != "train"])
    assert model.domains(held_out).argmax(dim=1).tolist() == dataset.labels[dataset.split != "train"].tolist()
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    state = torch.load(newest, weights_only=True)
    assert not torch.equal(state["E_ema"]["domain_head.weight"], model.E.domain_head.weight)
    assert float(state["E_ema"]["domain_head.bias"].abs().max()) == 0  # as it was at the start
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert "loss/labels" not in log[-1]


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_mean_styles_are_those_of_the_labels(labelled: Path, tmp_path: Path, preset: str) -> None:
    model = trained(labelled, tmp_path / "run", "folders", preset=preset, overrides=PAPER if preset == "paper" else {})
    _, x, labels = opened(tmp_path / "run")
    styles = model.style(x).double()
    for k in (0, 1):
        torch.testing.assert_close(model.domain_styles[k].double(), styles[labels == k].mean(dim=0), rtol=0, atol=1e-6)
    assert model.domain_counts.tolist() == labels.bincount().tolist()


def test_with_some_labels_the_others_are_counted_where_e_puts_them(picture_folder: Path, tmp_path: Path) -> None:
    model = trained(picture_folder, tmp_path / "run", some_labels(picture_folder))
    _, x, labels = opened(tmp_path / "run")
    assert model.about["supervision"] == "some"
    assert 0 < int((labels >= 0).sum()) < len(labels)
    domains = torch.where(labels >= 0, labels, model.domains(x).argmax(dim=1))
    assert model.domain_counts.tolist() == domains.bincount(minlength=2).tolist()
    assert model.naming.names == ("disc", "stripe")


def test_the_labels_name_the_domains_everywhere(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    model = trained(labelled, run, "folders", preset="paper", overrides=PAPER)
    assert json.loads((run / "model" / "config.json").read_text())["labels"] == ["disc", "stripe"]
    assert not (run / "model" / "domains.yaml").exists()
    assert torch.equal(model.domain_style("stripe"), model.domain_styles[1])
    picture = next((labelled / "disc").iterdir())
    main(
        ["translate", "--model", str(run), "--source", str(picture), "--domain", "stripe", "--out", str(tmp_path / "o")]
    )
    assert [path.name for path in (tmp_path / "o").iterdir()] == [f"{picture.stem}--stripe.png"]
    main(["info", str(run)])
    main(["evaluate", str(run)])
    assert "disc, stripe" in capsys.readouterr().out
    counts = model.domain_counts.tolist()
    assert f"disc: {counts[0]}, stripe: {counts[1]}" in (run / "model" / "README.md").read_text()
    assert "stripe" in (run / "report" / "index.html").read_text()


def test_a_users_names_stay_over_the_labels(labelled: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(labelled, run, "folders", preset="paper", overrides=PAPER)
    (run / "model" / "domains.yaml").write_text("dots: 0\n")
    model = trained(labelled, run, "folders", preset="paper", overrides=PAPER, steps=3)
    assert model.naming.names == ("dots", "stripe")
    assert (run / "model" / "domains.yaml").read_text() == "dots: 0\n"


def test_runs_without_labels_name_nothing(picture_folder: Path, tmp_path: Path) -> None:
    model = TUNIT.from_pretrained(train_tiny(picture_folder, tmp_path / "run") / "model")
    assert model.naming.names == ("0", "1")
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["labels"] == []
    _, x, _ = opened(tmp_path / "run")
    counts = model.domains(x).argmax(dim=1).bincount(minlength=2)
    assert model.domain_counts.tolist() == counts.tolist()
