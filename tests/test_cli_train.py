"""`tunit train`, and the commands that read its run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import SETTINGS, USER_ERROR, Capture, new_process, refused, train_words, tunit
from PIL import Image
from tiny import digests_of

from open_tunit import TUNIT
from open_tunit.data import critters
from open_tunit.networks.backbone import HOW_TO_INSTALL
from open_tunit.settings.config import Config, Model
from open_tunit.training.session.set_sizes import comparison


def test_train_without_data(tmp_path: Path) -> None:
    done = new_process("train", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    assert done.stderr == "tunit: train needs --data FOLDER (images, any nesting) or --data critters:5\n"
    assert list(tmp_path.iterdir()) == []


def _one_image(folder: Path) -> Path:
    folder.mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "one.png")
    return folder


def _stranger(folder: Path) -> Path:
    (folder.parent / "labels.csv").write_text("file,label\ndisc_00.png,a\nstripe_00.png,b\nno.png,a\n")
    return folder.parent / "labels.csv"


def test_training_data_that_cannot_be(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    out = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    assert "no images in" in refused(capsys, *train_words(tmp_path / "empty", out))
    assert "does not exist" in refused(capsys, *train_words(tmp_path / "no", out))
    assert "has 1 image; at least 2" in refused(capsys, *train_words(_one_image(tmp_path / "one"), out))
    line = refused(capsys, *train_words(picture_folder, out, "--labels", _stranger(picture_folder)))
    assert "names 1 files that are not in" in line
    assert "critters:K" in refused(capsys, *train_words("critters:99", out))
    assert not out.exists()


@pytest.mark.parametrize(("words", "expected"), [
    (("--domains", 1), "domains is 1; at least 2 are needed"),
    (("--size", 48), "size is 48; it must be one of 32, 64, 128, 256, 512 (a power of two)"),
    (("--preset", "gpu"), "preset is 'gpu'; expected one of paper, cpu, photos, photos-128, default"),
    (("--set", "training.bach=8"), "config.training has no setting 'bach'; did you mean batch?"),
    (("--set", "training.zzz=8"), "config.training has no setting 'zzz'; it has "),
    (("--set", "batch=8"), "config has no setting 'batch'; did you mean training.batch?"),
    (("--set", "trainig.batch=8"), "config has no setting 'trainig'"),
    (("--set", "training.batch"), "expected NAME=VALUE"),
    (("--set", "training.batch=many"), "config.training.batch is 'many'; expected int"),
    (("--set", "training.batch=[1"), "training.batch"),
    (("--set", "training.batch.size=1"), "training.batch"),
    (("--minutes", 1), "train takes --minutes or --steps, not both"),
    (("--set", "minutes=-1"), "minutes is -1.0; it must be above 0"),
    (("--device", "abacus"), "device 'abacus' is not available here"),
    (("--labels", "no.csv"), "no.csv"),
    (("--init", "no"), "no is not a model folder"),
    (("--config", "no.yaml"), "no.yaml"),
    (("--out", "critters"), "out is critters, the name of a bundled checkpoint; name another folder"),
])  # fmt: skip
def test_settings_that_cannot_be(
    capsys: Capture, tmp_path: Path, picture_folder: Path, words: tuple[str | int, ...], expected: str
) -> None:
    out = tmp_path / "run"
    assert expected in refused(capsys, *train_words(picture_folder, out, *words))
    assert not out.exists()


def test_places_where_no_run_can_be(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    assert "needs --out" in refused(capsys, "train", "--data", picture_folder)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(capsys, *train_words(picture_folder, tmp_path / "file"))
    assert "cannot write the run in" in refused(capsys, *train_words(picture_folder, tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "mine"
    before = digests_of(picture_folder)
    assert "holds no run" in refused(capsys, *train_words(picture_folder, picture_folder))
    assert digests_of(picture_folder) == before


def test_train_info_evaluate_and_train_again(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    out = tmp_path / "run"
    assert tunit(*train_words(picture_folder, out, "--domains", 2)) == 0
    assert f"model: {out}/model" in capsys.readouterr().out
    for place in (out, out / "model"):
        assert tunit("info", place) == 0
        rows = {line[:24].strip(): line[25:] for line in capsys.readouterr().out.splitlines()}
        assert (rows["size"], rows["domains"], rows["step"], rows["data.name"]) == ("32", "2", "2", "pictures")
        assert ("last report.step" in rows) == (place == out)

    assert tunit("evaluate", out) == 0
    said = capsys.readouterr().out
    figures = json.loads((out / "metrics.json").read_text())
    assert f"{figures['reconstruction_error']:.3f}" in said
    assert f"measured on {figures['protocol']['images']} " in said
    assert f"({figures['protocol']['part']} part of {picture_folder})" in said
    assert (out / "report" / "index.html").is_file()

    before = digests_of(out / "model") | digests_of(out / "checkpoints")
    line = refused(capsys, *train_words(picture_folder, out, "--domains", 3))
    assert "holds a different run (model.domains is 2 there and 3 here)" in line
    assert digests_of(out / "model") | digests_of(out / "checkpoints") == before
    assert tunit(*train_words(picture_folder, out, "--domains", 2, "--steps", 3)) == 0
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == 3


def test_a_config_file_with_other_words(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    assert tunit(*train_words(picture_folder, tmp_path / "a", "--domains", 2)) == 0
    again = ("train", "--config", tmp_path / "a" / "config.yaml")
    assert tunit(*again) == 0
    assert tunit(*again, "--out", tmp_path / "b", "--steps", 3, "--seed", 4, "--domains", 3) == 0
    about = json.loads((tmp_path / "b" / "model" / "config.json").read_text())
    assert (about["about"]["step"], about["about"]["seed"], about["model"]["domains"]) == (3, 4, 3)


def test_fine_tuning_keeps_the_models_shapes(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    TUNIT(Model(size=32, domains=2, style_dim=6, guiding_width=4, generator_width=4)).save_pretrained(tmp_path / "m")
    words = ("train", "--preset", "cpu", "--data", picture_folder, "--steps", 2, "--init", tmp_path / "m")
    words = (*words, "--set", "training.batch=4", "--set", "training.joint_start=1")
    assert tunit(*words, "--out", tmp_path / "a") == 0
    assert TUNIT.from_pretrained(tmp_path / "a" / "model").style(torch.zeros(1, 3, 32, 32)).shape == (1, 6)
    assert tunit(*words, "--out", tmp_path / "b", "--domains", 4) == 0
    assert TUNIT.from_pretrained(tmp_path / "b" / "model").config.domains == 4


def test_fine_tuning_from_a_newer_model(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    config = model / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "format_version": 3, "model": {**values["model"], "attention": 4}}))
    line = refused(capsys, *train_words(picture_folder, tmp_path / "run", "--init", model))
    assert "has format_version 3, newer than 2" in line


def test_critters_name_their_number_of_domains(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, count in (("TRAIN", 40), ("VAL", 10), ("TEST", 10)):
        monkeypatch.setattr(f"open_tunit.data.dataset.CRITTERS_{part}", count)
    assert tunit(*train_words("critters:3", tmp_path / "run", "--size", 32)) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["model"]["domains"] == 3 < len(critters.SPECIES)


def test_a_dry_run_tells_and_writes_nothing(
    picture_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (picture_folder / "broken.png").write_bytes(b"no picture")
    words = train_words(picture_folder, tmp_path / "run", "--dry-run")
    assert tunit(*words) == 0
    said = capsys.readouterr().out.splitlines()
    rows = dict(line.split(maxsplit=1) for line in said)
    assert "timing a few steps" in said
    assert rows["images"].startswith("24 (21 train, ")
    assert rows["images"].endswith("; 1 files are left out")
    assert rows["size"] == "32 px, batches of 4"
    assert rows["steps"] == "2: 1 of E alone, 1 of all networks"
    assert rows["time"].startswith("less than a minute on this machine (CPU, ")
    assert " GB of " in rows["memory"]
    assert rows["what"] == "fits    this does"
    assert not (tmp_path / "run").exists()

    assert tunit(*words[:-1]) == 0
    assert f"{comparison('ours', 21)}\n" in capsys.readouterr().out
    before = digests_of(tmp_path / "run")
    assert tunit(*words) == 0
    assert "the run is finished" in capsys.readouterr().out
    assert tunit(*words, "--steps", 9) == 0
    assert ": 7 of 9 steps at " in capsys.readouterr().out
    assert "seed is 0 there and 5 here" in refused(capsys, *words, "--seed", 5)
    assert digests_of(tmp_path / "run") == before

    monkeypatch.setattr("open_tunit.training.pacing.estimate.LONG", 0.0)
    monkeypatch.setattr("open_tunit.training.session.preview.fitting", lambda *_: "--preset cpu --minutes 5 (32 px)")
    monkeypatch.setattr("open_tunit.training.session.preview.memory_size", lambda _: 1_000_000)
    assert tunit(*words, "--steps", 9) == 0
    assert "what fits    --preset cpu --minutes 5 (32 px); --set training.batch=2" in capsys.readouterr().out


def _chosen(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> str:
    """The preset of the config that training gets."""
    asked: list[Config] = []
    monkeypatch.setattr("open_tunit.training.loop.train", lambda config, **_: asked.append(config))
    assert tunit("train", *words) == 0
    return asked[0].preset_name


def test_the_preset_where_none_is_named(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture_folder: Path, model: Path
) -> None:
    words = ("--data", picture_folder, "--out", tmp_path / "run")
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: True)
    assert _chosen(monkeypatch, *words) == "photos"
    assert "preset photos, as none was named" in capsys.readouterr().out
    assert _chosen(monkeypatch, "--data", "critters:3", "--out", tmp_path / "run") == "cpu"
    assert _chosen(monkeypatch, *words, "--init", model) == "cpu"
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: False)
    capsys.readouterr()
    assert _chosen(monkeypatch, *words) == "cpu"
    assert f"photographs need --preset photos: {HOW_TO_INSTALL}" in capsys.readouterr().out
    (tmp_path / "run").mkdir()
    stored = Config.preset("default", data=str(picture_folder), out=str(tmp_path / "run"))
    (tmp_path / "run" / "config.yaml").write_text(stored.to_yaml(), encoding="utf-8")
    assert _chosen(monkeypatch, *words) == "default"


@pytest.mark.parametrize("from_file", [False, True])
def test_a_setting_that_the_recipe_does_not_read_is_refused(
    capsys: Capture, picture_folder: Path, tmp_path: Path, from_file: bool
) -> None:
    words: list[str | Path] = ["--data", picture_folder, "--out", tmp_path / "run"]
    if from_file:
        (tmp_path / "given.yaml").write_text(Config.preset("paper", data="photos", out="run").to_yaml())
        words += ["--config", tmp_path / "given.yaml"]
    else:
        words += ["--preset", "paper"]
    assert tunit("train", *words, "--set", "training.pair_weight=2") == USER_ERROR
    said = capsys.readouterr().err
    assert "--set training.pair_weight has no effect in recipe paper; leave it out" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("more", "told"), [
    ((), True),
    (("--set", "training.batch=4"), True),
    (("--domains", 3), False),
    (("--domains", "auto"), False),
    (("--set", "model.domains=3"), False),
    (("--set", "auto_domains=true"), False),
    (("--labels", "folders"), False),
    (("--set", "data.labels=folders"), False),
])  # fmt: skip
def test_the_number_of_domains_is_told_where_it_is_the_presets(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: tuple[str | int, ...], told: bool
) -> None:
    line = "5 domains, as preset cpu has; --domains takes another, or auto"
    _chosen(monkeypatch, "--preset", "cpu", "--data", tmp_path, "--out", tmp_path / "run", *more)
    assert (line in capsys.readouterr().out.splitlines()) == told
    _chosen(monkeypatch, "--preset", "cpu", "--data", "critters:5", "--out", tmp_path / "run", *more)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(Config.preset("cpu", data="a", out="b").to_yaml(), encoding="utf-8")
    _chosen(monkeypatch, "--preset", "cpu", "--data", tmp_path, "--out", tmp_path / "run", *more)
    assert line not in capsys.readouterr().out


def test_a_run_of_before_goes_on_with_settings_that_are_refused_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("--preset", "cpu", "--data", tmp_path, "--out", tmp_path / "run", "--set", "training.feature_weight=3")
    assert tunit("train", *words) == USER_ERROR
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(Config.preset("cpu", data="a", out="b").to_yaml(), encoding="utf-8")
    assert _chosen(monkeypatch, *words) == "cpu"


@pytest.mark.parametrize(("answer", "begins"), [("y", True), ("", False), (EOFError(), False)])
def test_a_terminal_is_asked_before_days_of_training(
    picture_folder: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | Exception,
    begins: bool,
) -> None:
    asked = []

    def reply(question: str) -> str:
        asked.append(question)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("open_tunit.training.pacing.estimate.LONG", 0.0)
    monkeypatch.setattr("open_tunit.training.session.starting.fitting", lambda *_: "--preset cpu --minutes 5 (32 px)")
    monkeypatch.setattr("open_tunit.cli.train._is_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: False)
    run = tmp_path / "run"
    words: list[str | Path | int] = ["train", "--data", picture_folder, "--out", run, "--size", 32]
    for setting in (*SETTINGS, "training.steps=2", "training.r1_every=1"):
        words += ["--set", setting]
    if begins:
        assert tunit(*words) == 0
        said = capsys.readouterr().out
        assert "warning: this machine is slow for preset cpu: --preset cpu --minutes 5 (32 px) fits it" in said
    else:
        assert "nothing was begun: take --preset cpu --minutes 5 (32 px), or --preset cpu" in refused(capsys, *words)
    assert asked == ["begin 2 steps of preset cpu? [y/N] "]
    assert run.exists() == begins
    assert tunit(*words, "--preset", "cpu") == 0  # asked for by name
    assert tunit(*words, "--preset", "cpu") == 0  # and resumed
    assert len(asked) == 1
