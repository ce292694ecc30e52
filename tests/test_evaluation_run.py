"""evaluation/run.py: a run or a model folder measured, and what is written."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny import train_tiny

from open_tunit import TUNIT, runs
from open_tunit.data.dataset import Dataset
from open_tunit.data.scan import content_hash
from open_tunit.evaluation.protocol import FEW_MEASURED, FOREIGN, UNSEEN, Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.evaluation.translations import validate
from open_tunit.model_files.places import PARENT_UNKNOWN, TRAINING_HASHES


def test_a_command_gives_the_same_figures_twice(tiny_run: Path) -> None:
    evaluate_run(tiny_run)
    before = (tiny_run / "metrics.json").read_bytes()
    page = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
    evaluate_run(tiny_run)
    assert (tiny_run / "metrics.json").read_bytes() == before
    again = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
    without_cost = [re.sub(r'<section id="cost">.*?</section>', "", text) for text in (page, again)]
    assert without_cost[0] == without_cost[1]


def test_a_run_with_its_own_cache_is_measured_with_it(
    split_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    run = train_tiny(split_folder, tmp_path / "run", cache=str(tmp_path / "own"))
    evaluate_run(run, asked=Asked(pairs=4))
    assert (tmp_path / "own").is_dir()
    assert not (tmp_path / "usual").exists()


def test_a_model_folder_and_other_images(tiny_run: Path, picture_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a model folder, not a run; name the images with --data FOLDER"):
        evaluate_run(tiny_run / "model")
    figures = evaluate_run(tiny_run / "model", data=str(picture_folder), asked=Asked(part="all", pairs=5))
    assert (figures["measured_images"], figures["pairs"], figures["protocol"]["part"]) == (24, 5, "all")
    assert "nearest_training_ratio_E" not in figures
    with pytest.raises(ValueError, match="only a run has a best model"):
        evaluate_run(tiny_run / "model", data=str(picture_folder), weights="best")
    with pytest.raises(FileNotFoundError, match="has no best/"):
        evaluate_run(tiny_run, weights="best")


def test_nearest_training_images_are_searched_in_the_runs_own_folder_alone(
    tiny_run: Path, split_folder: Path, tmp_path: Path
) -> None:
    own = evaluate_run(tiny_run, asked=Asked(pairs=8))
    assert "nearest_training_ratio_E" in own
    assert FOREIGN not in own["notes"]
    shutil.copytree(split_folder, tmp_path / "others")
    next((tmp_path / "others" / "test").rglob("disc_*.png")).unlink()
    with pytest.warns(UserWarning, match="is kept as"):
        figures = evaluate_run(tiny_run, data=str(tmp_path / "others"), asked=Asked(pairs=8))
    assert figures["protocol"]["part"] == "test"
    assert "nearest_training_ratio_E" not in figures
    assert {FOREIGN, UNSEEN} <= set(figures["notes"])
    with pytest.warns(UserWarning, match="is kept as"):
        whole = evaluate_run(tiny_run, data=str(tmp_path / "others"), asked=Asked(part="all", pairs=8))
    assert FOREIGN in whole["notes"]
    assert UNSEEN not in whole["notes"]


def test_few_images_are_told(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = evaluate_run(tiny_run, asked=Asked(pairs=4))["held_out_images"]
    told = f"only {count} images measured: figures of so few are uncertain"
    assert count < FEW_MEASURED
    assert told in evaluate_run(tiny_run, asked=Asked(pairs=4))["notes"]
    monkeypatch.setattr("open_tunit.evaluation.protocol.FEW_MEASURED", count)
    assert told not in evaluate_run(tiny_run, asked=Asked(pairs=4))["notes"]


def test_figures_of_another_protocol_are_kept(tiny_run: Path, picture_folder: Path, tmp_path: Path) -> None:
    def kept() -> set[bytes]:
        return {path.read_bytes() for path in tiny_run.glob("metrics-*.json")}

    def now(data: Path | None, **asked: Any) -> bytes:
        evaluate_run(tiny_run, data=None if data is None else str(data), asked=Asked(**asked))
        return (tiny_run / "metrics.json").read_bytes()

    own = now(None, pairs=4)
    assert now(None, pairs=4) == own
    assert kept() == set()
    with pytest.warns(
        UserWarning, match=r"metrics\.json was of other images, .* and is kept as .*metrics-pictures-test-"
    ):
        other = now(picture_folder, part="all", pairs=4)
    (report,) = tiny_run.glob("report-*/index.html")
    (figures,) = tiny_run.glob("metrics-*.json")
    assert report.parent.name.removeprefix("report") == figures.stem.removeprefix("metrics")
    assert report.read_text() != (tiny_run / "report" / "index.html").read_text()
    namesake = tmp_path / "elsewhere" / picture_folder.name
    shutil.copytree(picture_folder, namesake)
    next(namesake.rglob("disc_*.png")).unlink()
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        another = now(namesake, part="all", pairs=4)
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        now(namesake, part="all", pairs=5)
    assert kept() == {own, other, another}
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        now(None, pairs=4)
    trained_on = own.replace(b'"steps": ', b'"steps": 1')  # the same protocol, after more training
    assert trained_on != own
    (tiny_run / "metrics.json").write_bytes(trained_on)
    with pytest.warns(UserWarning, match=r"metrics-pictures-test-"):
        now(picture_folder, part="all", pairs=4)
    assert {own, trained_on} <= kept()
    (tiny_run / "metrics.json").write_text("{")
    with pytest.warns(UserWarning, match=r"metrics-unknown-"):
        now(None, pairs=4)
    assert b"{" in kept()


def test_the_card_of_a_measured_run_tells_its_figures(tiny_run: Path, picture_folder: Path) -> None:
    card = tiny_run / "model" / "README.md"
    before = card.read_text()
    assert "Not known: nothing of the kind lies beside this model." in before
    evaluate_run(tiny_run, data=str(picture_folder), asked=Asked(part="all", pairs=4))
    with pytest.warns(UserWarning, match="is kept as"):
        evaluate_run(tiny_run, asked=Asked(part="train", pairs=4))
    assert card.read_text() == before
    with pytest.warns(UserWarning, match="is kept as"):
        figures = evaluate_run(tiny_run, asked=Asked(pairs=4))
    assert f"| `reconstruction_error` | {figures['reconstruction_error']:.4g} |" in card.read_text()
    assert "## Measured on held-out images" in card.read_text()
    assert str(Path(figures["protocol"]["data"]).parent) not in card.read_text()
    assert card.read_text().startswith(before.partition("## Measured")[0])


def test_training_images_are_told_and_not_called_held_out(tiny_run: Path, split_folder: Path, tmp_path: Path) -> None:
    """Whatever folder they come in: here those of the run, moved from the training part to the test part."""
    own = evaluate_run(tiny_run, asked=Asked(pairs=4))
    assert (own["held_out"], own["held_out_images"], own["trained_on_images"]) == (True, 20, 0)
    exchanged = tmp_path / "exchanged"
    (exchanged / "train").mkdir(parents=True)
    for path in (split_folder / "test").rglob("*.png"):
        shutil.copy(path, exchanged / "train" / path.name)
    (exchanged / "test").mkdir()
    for path in split_folder.glob("*.png"):
        shutil.copy(path, exchanged / "test" / path.name)
    for place in (tiny_run, tiny_run / "model"):
        with pytest.warns(UserWarning, match="is kept as") if place == tiny_run else contextlib.nullcontext():
            figures = evaluate_run(place, data=str(exchanged), asked=Asked(pairs=4))
        trained = figures["trained_on_images"]
        assert (figures["protocol"]["part"], figures["held_out"]) == ("test", False)
        assert 0 < trained <= figures["measured_images"] == 4
        assert "held_out_images" not in figures
        told = f"the model was trained on {trained} of the 4 measured images: they are not held out"
        assert told in figures["notes"]
        page = (place / "report" / "index.html").read_text(encoding="utf-8")
        assert "4 images, not held out" in page
        assert told in page


def test_many_training_images_are_known_by_the_run_alone(
    tiny_run: Path, split_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_HASHES_BYTES", 10)
    stored = json.loads((tiny_run / "data.json").read_text())
    assert TRAINING_HASHES not in runs.without_many_hashes(stored)
    values = json.loads((tiny_run / "model" / "config.json").read_text())
    values["about"]["data"] = runs.without_many_hashes(values["about"]["data"])
    (tiny_run / "model" / "config.json").write_text(json.dumps(values))
    for place in (tiny_run, tiny_run / "model"):
        figures = evaluate_run(place, data=str(split_folder), asked=Asked(part="train", pairs=4))
        assert figures["trained_on_images"] == len(stored[TRAINING_HASHES].split())


def test_the_images_of_the_model_that_a_run_began_with_count_as_its_own(
    tiny_run: Path, split_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for index in range(6):
        Image.new("RGB", (48, 40), (index * 40, 90, 30)).save(others / f"{index}.png")
    parents = set(json.loads((tiny_run / "data.json").read_text())[TRAINING_HASHES].split())
    assert parents
    run = train_tiny(others, tmp_path / "run", init=str(tiny_run / "model"))
    run = train_tiny(others, run, steps=3, init=str(tiny_run / "model"))  # and goes on
    known = [json.loads((run / "data.json").read_text()), TUNIT.from_pretrained(run / "model").about["data"]]
    for data in known:
        assert set(data[TRAINING_HASHES].split()) > parents
        assert len(data[TRAINING_HASHES].split()) == len(parents) + data["train"]
        assert PARENT_UNKNOWN not in data
    figures = evaluate_run(run, data=str(split_folder), asked=Asked(part="train", pairs=4))
    assert (figures["held_out"], figures["trained_on_images"]) == (False, len(parents))

    monkeypatch.setattr(runs, "MOST_HASHES_BYTES", 10)  # then only the parent's run has them
    stored = json.loads((tiny_run / "model" / "config.json").read_text())
    stored["about"]["data"] = runs.without_many_hashes(stored["about"]["data"])
    (tiny_run / "model" / "config.json").write_text(json.dumps(stored))
    again = train_tiny(others, tmp_path / "again", init=str(tiny_run))
    assert set(json.loads((again / "data.json").read_text())[TRAINING_HASHES].split()) > parents


def test_a_parent_of_unknown_images_is_told(tiny_run: Path, split_folder: Path, tmp_path: Path) -> None:
    model = TUNIT.from_pretrained(tiny_run / "model")
    model.about = {}
    model.save_pretrained(tmp_path / "stranger")
    run = train_tiny(split_folder, tmp_path / "run", init=str(tmp_path / "stranger"))
    figures = evaluate_run(run, asked=Asked(pairs=4))
    assert (figures["held_out"], figures["trained_on_images"]) == (True, 0)
    assert "the model was begun with another one, whose training images are not known" in figures["notes"]


def test_a_set_too_small_for_a_test_part_has_no_held_out_figures(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    position = {path: int(content_hash(path)[:13], 16) / 16**13 for path in picture_folder.glob("*.png")}
    for path in sorted(position, key=position.__getitem__)[-4:]:  # those that the split keeps for training
        shutil.copy(path, small / path.name)
    run = train_tiny(small, tmp_path / "run", evaluator=lambda *_: {"score": 1.0}, report_every=1, validate_every=1)
    assert "warning: validate_every is 1, but there are no validation images: no best" in capsys.readouterr().out
    parts = json.loads((run / "data.json").read_text())
    assert (parts["val"], parts["test"]) == (0, 0)
    assert not (run / "best").exists()
    figures = evaluate_run(run, asked=Asked(pairs=4))
    assert (figures["held_out"], figures["protocol"]["part"]) == (False, "train")
    assert figures["trained_on_images"] == figures["measured_images"] == parts["train"]
    assert "held_out_images" not in figures
    card = (run / "model" / "README.md").read_text()
    assert "## Measured on images that are not held out (train part)" in card
    assert "## Measured on held-out images" not in card
    assert "not held out" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_a_run_before_its_first_report_has_no_model_to_measure(tiny_run: Path) -> None:
    shutil.rmtree(tiny_run / "model")
    with pytest.raises(FileNotFoundError, match="has no model yet: its first report, or its end, writes one"):
        evaluate_run(tiny_run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config\.yaml"):
        evaluate_run(tmp_path)


def test_training_keeps_the_best_of_its_validations(picture_folder: Path, tmp_path: Path) -> None:
    scores = iter([0.2, 0.7, 0.4])
    seen = []

    def evaluator(model: TUNIT, dataset: Dataset) -> Mapping[str, float]:
        assert not model.training
        seen.append(len(dataset.files))
        return {"score": next(scores), "domain_reached": 0.5}

    out = train_tiny(picture_folder, tmp_path / "run", steps=4, evaluator=evaluator, report_every=1, validate_every=1)
    assert seen == [24, 24, 24]  # the first step's report is E's alone
    about = TUNIT.from_pretrained(out / "best").about
    assert (about["step"], about["validation"]["score"]) == (3, 0.7)
    assert TUNIT.from_pretrained(out / "model").about["step"] == 4
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line.get("validation/score") for line in lines] == [None, 0.2, 0.7, 0.4]

    scores = iter([0.6])
    train_tiny(picture_folder, out, steps=5, evaluator=evaluator, report_every=1, validate_every=1)
    assert TUNIT.from_pretrained(out / "best").about["step"] == 3


def test_training_is_the_same_with_and_without_validation(picture_folder: Path, tmp_path: Path) -> None:
    plain = train_tiny(picture_folder, tmp_path / "plain", evaluator=validate)
    watched = train_tiny(picture_folder, tmp_path / "watched", evaluator=validate, report_every=1, validate_every=1)
    assert not (plain / "best").exists()
    assert (watched / "best" / "model.safetensors").is_file()
    weights = [TUNIT.from_pretrained(out / "model").state_dict() for out in (plain, watched)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
