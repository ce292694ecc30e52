"""`tunit`: what each command writes, and how it refuses."""

from __future__ import annotations

import csv
import ctypes
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from open_tunit import TUNIT, __version__
from open_tunit.cli.main import COMMANDS, main
from open_tunit.data import critters
from open_tunit.interop.official import discriminator_names, generator_names, guiding_names
from open_tunit.networks.discriminator import Discriminator
from open_tunit.settings.config import Discriminator as DiscriminatorShape
from open_tunit.settings.config import Model

HELP_CPU_SECONDS = 0.5
USER_ERROR = 2
SETTINGS = (
    "model.style_dim=8", "model.palette_dim=3",
    "model.guiding_width=4", "model.generator_width=4", "model.style_mlp_width=16",
    "model.projection_dim=8", "discriminator.width=4", "discriminator.max_width=8",
    "training.batch=4", "training.guiding_batch=8", "training.joint_start=1",
    "training.pair_steps=0",
)  # fmt: skip

Capture = pytest.CaptureFixture[str]


def _run(*words: str | Path | int, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`tunit` in a new process."""
    command = [sys.executable, "-m", "open_tunit", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120)


def _main(*words: str | Path | int) -> int:
    return main([str(word) for word in words])


def _train_words(data: Path | str, out: Path, *more: str | Path | int) -> list[str | Path | int]:
    words: list[str | Path | int] = ["train", "--preset", "cpu", "--data", data, "--out", out, "--steps", 2]
    for setting in SETTINGS:
        words += ["--set", setting]
    return [*words, *more]


def _refused(capsys: Capture, *words: str | Path | int) -> str:
    """The one line that a command which cannot be gets."""
    capsys.readouterr()
    code = _main(*words)
    captured = capsys.readouterr()
    assert code == USER_ERROR, captured.err
    (line,) = captured.err.splitlines()
    assert line.startswith("tunit: ")
    assert len(line) > len("tunit: ")
    return line


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def model(random_model: TUNIT, tmp_path: Path) -> Path:
    """A model folder whose domain 2 is empty."""
    random_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _cpu_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert _run(*words).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [("--help",), ("train", "--help")])
def test_help_is_quick(words: tuple[str, ...]) -> None:
    assert min(_cpu_seconds(*words) for _ in range(3)) < HELP_CPU_SECONDS


def test_help_names_the_commands() -> None:
    said = _run("--help").stdout
    assert set(COMMANDS) == {
        "train", "translate", "interpolate", "serve", "domains", "evaluate", "info", "cache", "critters", "export",
        "push", "import-official", "shard",
    }  # fmt: skip
    assert all(name in said for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_commands_help_fits_a_screen(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        _main(command, "--help")
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) <= 45


def test_version(capsys: Capture) -> None:
    assert _main("--version") == 0
    assert capsys.readouterr().out == f"tunit {__version__}\n"


def test_train_without_data(tmp_path: Path) -> None:
    done = _run("train", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    assert done.stderr == "tunit: train needs --data FOLDER (images, any nesting) or --data critters:5\n"
    assert list(tmp_path.iterdir()) == []


def test_a_new_process_says_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = _run(*_train_words(tmp_path / "empty", tmp_path / "run"))
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"no images in {tmp_path / 'empty'}" in done.stderr


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
    assert "no images in" in _refused(capsys, *_train_words(tmp_path / "empty", out))
    assert "does not exist" in _refused(capsys, *_train_words(tmp_path / "no", out))
    assert "has 1 image; at least 2" in _refused(capsys, *_train_words(_one_image(tmp_path / "one"), out))
    line = _refused(capsys, *_train_words(picture_folder, out, "--labels", _stranger(picture_folder)))
    assert "names 1 files that are not in" in line
    assert "critters:K" in _refused(capsys, *_train_words("critters:99", out))
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
    (("--out", "critters"), "out is critters, the name of the bundled checkpoint; name another folder"),
])  # fmt: skip
def test_settings_that_cannot_be(
    capsys: Capture, tmp_path: Path, picture_folder: Path, words: tuple[str | int, ...], expected: str
) -> None:
    out = tmp_path / "run"
    assert expected in _refused(capsys, *_train_words(picture_folder, out, *words))
    assert not out.exists()


def test_places_where_no_run_can_be(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    assert "needs --out" in _refused(capsys, "train", "--data", picture_folder)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in _refused(capsys, *_train_words(picture_folder, tmp_path / "file"))
    assert "cannot write the run in" in _refused(capsys, *_train_words(picture_folder, tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "mine"
    before = _digests(picture_folder)
    assert "holds no run" in _refused(capsys, *_train_words(picture_folder, picture_folder))
    assert _digests(picture_folder) == before


@pytest.mark.parametrize("command", ["train", "translate", "interpolate", "domains", "export"])
def test_no_permission_to_write(tmp_path: Path, picture_folder: Path, command: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    source = picture_folder / "disc_00.png"
    words: dict[str, tuple[object, ...]] = {
        "train": _train_words(picture_folder, locked / "run")[1:],
        "translate": ("--source", source, "--domain", 0, "--out", locked / "out"),
        "interpolate": ("--source", source, "--domain", 0, 1, "--out", locked / "out.png"),
        "domains": ("--data", picture_folder, "--out", locked / "out"),
        "export": ("--out", locked / "out"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "open_tunit", command, *map(str, words[command])],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True, timeout=300,
        preexec_fn=_lose_the_right_to_write_anywhere,
    )  # fmt: skip
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("tunit: ")
    assert str(locked) in line
    assert "Permission denied" in line
    assert list(locked.iterdir()) == []


def _lose_the_right_to_write_anywhere() -> None:
    """Let root be held to a folder's permissions, as everybody else is: drop CAP_DAC_OVERRIDE from what exec gets."""
    if os.geteuid() == 0:
        PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def test_train_info_evaluate_and_train_again(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    out = tmp_path / "run"
    assert _main(*_train_words(picture_folder, out, "--domains", 2)) == 0
    assert f"model: {out}/model" in capsys.readouterr().out
    for place in (out, out / "model"):
        assert _main("info", place) == 0
        rows = {line[:24].strip(): line[25:] for line in capsys.readouterr().out.splitlines()}
        assert (rows["size"], rows["domains"], rows["step"], rows["data.name"]) == ("32", "2", "2", "pictures")
        assert ("last report.step" in rows) == (place == out)

    assert _main("evaluate", out) == 0
    said = capsys.readouterr().out
    figures = json.loads((out / "metrics.json").read_text())
    assert f"{figures['reconstruction_error']:.3f}" in said
    assert f"measured on {figures['protocol']['images']} " in said
    assert f"({figures['protocol']['part']} part of {picture_folder})" in said
    assert (out / "report" / "index.html").is_file()

    before = _digests(out / "model") | _digests(out / "checkpoints")
    line = _refused(capsys, *_train_words(picture_folder, out, "--domains", 3))
    assert "holds a different run (model.domains is 2 there and 3 here)" in line
    assert _digests(out / "model") | _digests(out / "checkpoints") == before
    assert _main(*_train_words(picture_folder, out, "--domains", 2, "--steps", 3)) == 0
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == 3


def test_a_config_file_with_other_words(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    assert _main(*_train_words(picture_folder, tmp_path / "a", "--domains", 2)) == 0
    again = ("train", "--config", tmp_path / "a" / "config.yaml")
    assert _main(*again) == 0
    assert _main(*again, "--out", tmp_path / "b", "--steps", 3, "--seed", 4, "--domains", 3) == 0
    about = json.loads((tmp_path / "b" / "model" / "config.json").read_text())
    assert (about["about"]["step"], about["about"]["seed"], about["model"]["domains"]) == (3, 4, 3)


def test_fine_tuning_keeps_the_models_shapes(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    TUNIT(Model(size=32, domains=2, style_dim=6, guiding_width=4, generator_width=4)).save_pretrained(tmp_path / "m")
    words = ("train", "--preset", "cpu", "--data", picture_folder, "--steps", 2, "--init", tmp_path / "m")
    words = (*words, "--set", "training.batch=4", "--set", "training.joint_start=1")
    assert _main(*words, "--out", tmp_path / "a") == 0
    assert TUNIT.from_pretrained(tmp_path / "a" / "model").style(torch.zeros(1, 3, 32, 32)).shape == (1, 6)
    assert _main(*words, "--out", tmp_path / "b", "--domains", 4) == 0
    assert TUNIT.from_pretrained(tmp_path / "b" / "model").config.domains == 4


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_translate_a_picture_after_another(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    source, reference = picture_folder / "disc_00.png", picture_folder / "stripe_00.png"
    words = ("translate", "--model", model, "--source", source, "--reference", reference, "--out", tmp_path / "out")
    assert _main(*words) == 0
    assert "1 translation in" in capsys.readouterr().out
    assert _names(tmp_path / "out") == ["disc_00--stripe_00.png"]
    path = tmp_path / "out" / "disc_00--stripe_00.png"
    expected = TUNIT.from_pretrained(model).translate(source, reference)
    with Image.open(path) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (48, 40))
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))

    path.write_bytes(b"mine")
    assert "exists already; give --overwrite" in _refused(capsys, *words)
    assert path.read_bytes() == b"mine"
    assert _main(*words, "--overwrite", "--strength", "0") == 0
    with Image.open(path) as drawn:
        assert not np.array_equal(np.asarray(drawn), np.asarray(expected))


def test_nothing_is_written_where_one_picture_is_there_already(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "stripe_11--domain0.png").write_bytes(b"mine")
    words = ("translate", "--model", model, "--source", picture_folder, "--domain", 0, "--out", out)
    assert "exists already" in _refused(capsys, *words)
    assert _names(out) == ["stripe_11--domain0.png"]


def test_translate_folders(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    sources, references = tmp_path / "sources", tmp_path / "references"
    (sources / "deep").mkdir(parents=True)
    references.mkdir()
    shutil.copy(picture_folder / "disc_00.png", sources)
    shutil.copy(picture_folder / "disc_01.png", sources / "deep")
    for name in ("stripe_00.png", "stripe_01.png"):
        shutil.copy(picture_folder / name, references)
    out = tmp_path / "out"
    assert _main("translate", "--model", model, "--source", sources, "--reference", references, "--out", out) == 0
    assert _names(out) == [
        "deep/disc_01--stripe_00.png", "deep/disc_01--stripe_01.png",
        "disc_00--stripe_00.png", "disc_00--stripe_01.png",
    ]  # fmt: skip


def test_pictures_of_one_name_all_get_their_translation(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    references, sources = tmp_path / "references", tmp_path / "sources"
    sources.mkdir()
    for kind in ("disc", "stripe"):
        (references / kind).mkdir(parents=True)
        shutil.copy(picture_folder / f"{kind}_00.png", references / kind / "0.png")
    shutil.copy(picture_folder / "disc_01.png", sources / "a.png")
    with Image.open(picture_folder / "stripe_01.png") as picture:
        picture.save(sources / "a.jpg")
    out = tmp_path / "out"
    assert _main("translate", "--model", model, "--source", sources, "--reference", references, "--out", out) == 0
    assert len(_names(out)) == 4


def test_translate_into_domains(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out, source = tmp_path / "out", picture_folder / "disc_00.png"
    words = ("translate", "--model", model, "--source", source, "--out", out)
    assert _main(*words, "--domain", "all") == 0
    assert _names(out) == ["disc_00--domain0.png", "disc_00--domain1.png"]
    expected = TUNIT.from_pretrained(model).translate(source, domain=1)
    with Image.open(out / "disc_00--domain1.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    words = (*words, "--overwrite")
    assert "domain is 3; this model has domains 0 to 2" in _refused(capsys, *words, "--domain", 3)
    assert "domain 2 has no mean style" in _refused(capsys, *words, "--domain", 2)
    assert "domain is cats; this model has domains 0 to 2" in _refused(capsys, *words, "--domain", "cats")
    assert "and not both" in _refused(capsys, *words)
    assert "and not both" in _refused(capsys, *words, "--domain", 0, "--reference", source)
    assert "strength is 7; expected 0" in _refused(capsys, *words, "--domain", 0, "--strength", 7)
    assert "no.png does not exist" in _refused(capsys, *words, "--reference", tmp_path / "no.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "is not an image" in _refused(capsys, *words, "--reference", tmp_path / "text.png")


def test_models_that_cannot_be(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out = tmp_path / "out"

    def lines(folder: Path) -> list[str]:
        source = picture_folder / "disc_00.png"
        translate = ("translate", "--model", folder, "--source", source, "--domain", 0, "--out", out)
        return [
            _refused(capsys, *translate),
            _refused(capsys, "domains", "--model", folder, "--data", picture_folder, "--out", out),
        ]

    for line in lines(tmp_path / "no"):
        assert "is not a model folder" in line
    weights, config = model / "model.safetensors", model / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    torch.save({"weight": torch.ones(1)}, weights)
    for line in lines(model):
        assert "is not this model's safetensors file" in line
    weights.write_bytes(whole)
    config.write_text(json.dumps({**json.loads(text), "format_version": 3}))
    for line in (*lines(model), _refused(capsys, "info", model)):
        assert "has format_version 3, newer than 2" in line
    config.write_text(json.dumps({"format_version": 1}))
    for line in (*lines(model), _refused(capsys, "info", model)):
        assert "config.json" in line
    assert not out.exists()


def test_fine_tuning_from_a_newer_model(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    config = model / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "format_version": 3, "model": {**values["model"], "attention": 4}}))
    line = _refused(capsys, *_train_words(picture_folder, tmp_path / "run", "--init", model))
    assert "has format_version 3, newer than 2" in line


def test_domains_sorts_a_folder(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    (picture_folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    words = ("domains", "--model", model, "--data", picture_folder, "--out", out)
    assert _main(*words) == 0
    said = capsys.readouterr().out
    assert "warning: broken.png is not an image" in said
    with (out / "domains.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted(path.name for path in picture_folder.glob("*_*.png"))
    assert [row["file"] for row in rows] == names
    expected = TUNIT.from_pretrained(model).domains([picture_folder / name for name in names])
    assert [int(row["domain"]) for row in rows] == expected.argmax(dim=1).tolist()
    sure = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(sure, expected.amax(dim=1).numpy(), atol=2e-4)
    filled = sorted(set(expected.argmax(dim=1).tolist()))
    assert len(filled) > 1
    assert _names(out) == sorted(["domains.csv", "domains.yaml", *(f"domain{k}.png" for k in filled)])
    assert yaml.safe_load((out / "domains.yaml").read_text()) is None
    counts = np.bincount(expected.argmax(dim=1).numpy(), minlength=3)
    assert "images per domain: " + ", ".join(f"{k}: {count}" for k, count in enumerate(counts)) in said
    before = _digests(out)
    assert "domains.csv exists already" in _refused(capsys, *words)
    assert _digests(out) == before
    for mine in ("domains.yaml", "domain1.png", "style_map_tsne.png"):
        (tmp_path / mine).mkdir()
        (tmp_path / mine / mine).write_text("mine")
        assert f"{mine} exists already" in _refused(capsys, *words[:-1], tmp_path / mine)
        assert _names(tmp_path / mine) == [mine]


def test_names_and_merges_are_honoured(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    (model / "domains.yaml").write_text("Großkatze: [0, 1]\n", encoding="utf-8")
    sort = ("domains", "--model", model, "--data", picture_folder, "--out", tmp_path / "sorted")
    assert _main(*sort) == 0
    with (tmp_path / "sorted" / "domains.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["domain"] for row in rows} <= {"0", "2"}
    assert {row["name"] for row in rows if row["domain"] == "0"} == {"Großkatze"}
    assert "Großkatze.png" in _names(tmp_path / "sorted")
    written = (tmp_path / "sorted" / "domains.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == {"Großkatze": [0, 1]}
    count = sum(row["domain"] == "2" for row in rows)
    assert f"# NAME: 2  # {count} images{', domain2.png' if count else ''}\n" in written
    translate = ("translate", "--model", model, "--source", picture_folder / "disc_00.png", "--out", tmp_path / "out")
    assert _main(*translate, "--domain", "Großkatze") == 0
    assert _names(tmp_path / "out") == ["disc_00--Großkatze.png"]
    expected = TUNIT.from_pretrained(model).translate(picture_folder / "disc_00.png", domain=1)
    with Image.open(tmp_path / "out" / "disc_00--Großkatze.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    assert "model has domains 0 to 2 (Großkatze)" in _refused(capsys, *translate, "--domain", "cats")
    (model / "domains.yaml").write_text("cat: 3\n")
    assert "domains.yaml: cat is 3; expected domains from 0 to 2" in _refused(capsys, *translate, "--domain", "cat")


def test_the_map_of_styles(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out = tmp_path / "out"
    assert _main("domains", "--model", model, "--data", picture_folder, "--out", out, "--map") == 0
    with Image.open(out / "style_map_tsne.png") as drawn:
        assert len(np.unique(np.asarray(drawn).reshape(-1, 4), axis=0)) > 2


def test_domains_that_cannot_be(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    assert "domains needs --data FOLDER" in _refused(capsys, "domains", "--model", model, "--out", tmp_path / "out")
    assert "domains needs --out FOLDER" in _refused(capsys, "domains", "--data", picture_folder)
    sweep = ("domains", "sweep", "--data", picture_folder)
    assert "--fewest is 4 and --most 3" in _refused(capsys, *sweep, "--fewest", 4, "--most", 3)
    assert "needs the shape contrast" in _refused(capsys, *sweep, "--preset", "paper")
    (tmp_path / "domains.json").write_text("{}")
    assert "domains.json exists already" in _refused(capsys, *sweep, "--out", tmp_path)


def test_sweeping_the_number_of_domains(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    out = tmp_path / "swept"
    assert _main("domains", "sweep", "--data", picture_folder, "--size", 32, "--steps", 2, "--out", out) == 0
    said = capsys.readouterr().out
    assert "2 domains  information" in said
    assert json.loads((out / "domains.json").read_text())["chosen"] == 2


def test_info_names_what_is_nested(capsys: Capture, tmp_path: Path, random_model: TUNIT) -> None:
    random_model.about = {"data": {"parts": {"train": 7}}}
    random_model.save_pretrained(tmp_path / "model")
    assert _main("info", tmp_path / "model") == 0
    assert "data.parts.train         7" in capsys.readouterr().out


def test_info_names_the_domains(capsys: Capture, model: Path) -> None:
    assert _main("info", model) == 0
    assert "domain names" not in capsys.readouterr().out
    (model / "domains.yaml").write_text("cat: 0\n")
    assert _main("info", model) == 0
    assert capsys.readouterr().out.startswith("domain names             cat, 1")


def test_info_of_nothing(capsys: Capture, tmp_path: Path) -> None:
    assert "is not a model folder: it has no config.json" in _refused(capsys, "info", tmp_path)
    assert "is not a run" in _refused(capsys, "evaluate", tmp_path)
    assert "critters comes with open-tunit, where no figures" in _refused(capsys, "evaluate", "critters")
    assert "evaluate needs a run" in _refused(capsys, "evaluate")
    assert "evaluate needs a run" in _refused(capsys, "evaluate", tmp_path, "--compare", tmp_path, tmp_path)
    assert "has no metrics.json" in _refused(capsys, "evaluate", "--compare", tmp_path, tmp_path)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A small checkpoint under the published names."""
    torch.manual_seed(0)
    shapes = Model(size=64, domains=3, style_dim=7, guiding_width=4, generator_width=4)
    narrow = DiscriminatorShape(width=4)
    model, D = TUNIT(shapes), Discriminator(shapes, narrow)
    values: dict[str, object] = {"epoch": 5}
    for name, network, names in (
        ("C", model.E, guiding_names(shapes)), ("G", model.G, generator_names(shapes)),
        ("D", D, discriminator_names(shapes, narrow)),
    ):  # fmt: skip
        state = {f"module.{names[ours]}": value for ours, value in network.state_dict().items()}
        values[f"{name}_state_dict"] = values[f"{name}_EMA_state_dict"] = state
    torch.save(values, tmp_path / "published.ckpt")
    return tmp_path / "published.ckpt"


def test_import_official(capsys: Capture, tmp_path: Path, published: Path, picture_folder: Path) -> None:
    out = tmp_path / "imported"
    assert _main("import-official", published, "--out", out) == 0
    assert f"model: {out}" in capsys.readouterr().out
    assert "3 domains at 64 px" in (out / "README.md").read_text()
    assert _main("info", out) == 0
    pair = ("--source", picture_folder / "disc_00.png", "--reference", picture_folder / "disc_01.png")
    assert _main("translate", "--model", out, *pair, "--out", tmp_path / "t") == 0
    before = _digests(out)
    assert "is not empty" in _refused(capsys, "import-official", published, "--out", out, "--raw")
    assert _digests(out) == before
    again = ("--out", tmp_path / "again")
    assert "was trained at 64 px" in _refused(capsys, "import-official", published, *again, "--size", 128)
    published.write_bytes(b"hello")
    assert "is not a checkpoint" in _refused(capsys, "import-official", published, *again)
    published.unlink()
    assert "does not exist" in _refused(capsys, "import-official", published, *again)
    assert not (tmp_path / "again").exists()


def test_an_imported_model_can_be_fine_tuned(tmp_path: Path, published: Path, picture_folder: Path) -> None:
    assert _main("import-official", published, "--out", tmp_path / "imported") == 0
    words = ("train", "--preset", "cpu", "--data", picture_folder, "--init", tmp_path / "imported", "--steps", 4)
    words = (*words, "--set", "training.batch=2", "--set", "training.joint_start=3", "--out", tmp_path / "run")
    assert _main(*words, "--set", "training.guiding_batch=4") == 0


def test_critters_name_their_number_of_domains(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, count in (("TRAIN", 40), ("VAL", 10), ("TEST", 10)):
        monkeypatch.setattr(f"open_tunit.data.dataset.CRITTERS_{part}", count)
    assert _main(*_train_words("critters:3", tmp_path / "run", "--size", 32)) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["model"]["domains"] == 3 < len(critters.SPECIES)


def test_words_that_no_command_knows() -> None:
    for words in (("train", "--date", "photos"), ("trian",), ()):
        done = _run(*words)
        assert done.returncode == USER_ERROR
        assert "Traceback" not in done.stderr
