"""`tunit domains`: tables, sheets, names, and the number of domains."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import yaml
from commands import Capture, names_in, refused, tunit
from PIL import Image
from tiny import digests_of

from open_tunit import TUNIT


def test_domains_sorts_a_folder(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    (picture_folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    words = ("domains", "--model", model, "--data", picture_folder, "--out", out)
    assert tunit(*words) == 0
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
    assert names_in(out) == sorted(["domains.csv", "domains.yaml", *(f"domain{k}.png" for k in filled)])
    assert yaml.safe_load((out / "domains.yaml").read_text()) is None
    counts = np.bincount(expected.argmax(dim=1).numpy(), minlength=3)
    assert "images per domain: " + ", ".join(f"{k}: {count}" for k, count in enumerate(counts)) in said
    before = digests_of(out)
    assert "domains.csv exists already" in refused(capsys, *words)
    assert digests_of(out) == before
    for mine in ("domains.yaml", "domain1.png", "style_map_tsne.png"):
        (tmp_path / mine).mkdir()
        (tmp_path / mine / mine).write_text("mine")
        assert f"{mine} exists already" in refused(capsys, *words[:-1], tmp_path / mine)
        assert names_in(tmp_path / mine) == [mine]


def test_names_and_merges_are_honoured(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    (model / "domains.yaml").write_text("Großkatze: [0, 1]\n", encoding="utf-8")
    sort = ("domains", "--model", model, "--data", picture_folder, "--out", tmp_path / "sorted")
    assert tunit(*sort) == 0
    with (tmp_path / "sorted" / "domains.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["domain"] for row in rows} <= {"0", "2"}
    assert {row["name"] for row in rows if row["domain"] == "0"} == {"Großkatze"}
    assert "Großkatze.png" in names_in(tmp_path / "sorted")
    written = (tmp_path / "sorted" / "domains.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == {"Großkatze": [0, 1]}
    count = sum(row["domain"] == "2" for row in rows)
    assert f"# NAME: 2  # {count} images{', domain2.png' if count else ''}\n" in written
    translate = ("translate", "--model", model, "--source", picture_folder / "disc_00.png", "--out", tmp_path / "out")
    assert tunit(*translate, "--domain", "Großkatze") == 0
    assert names_in(tmp_path / "out") == ["disc_00--Großkatze.png"]
    expected = TUNIT.from_pretrained(model).translate(picture_folder / "disc_00.png", domain=1)
    with Image.open(tmp_path / "out" / "disc_00--Großkatze.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    assert "model has domains 0 to 2 (Großkatze)" in refused(capsys, *translate, "--domain", "cats")
    (model / "domains.yaml").write_text("cat: 3\n")
    assert "domains.yaml: cat is 3; expected domains from 0 to 2" in refused(capsys, *translate, "--domain", "cat")


def test_the_map_of_styles(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out = tmp_path / "out"
    assert tunit("domains", "--model", model, "--data", picture_folder, "--out", out, "--map") == 0
    with Image.open(out / "style_map_tsne.png") as drawn:
        assert len(np.unique(np.asarray(drawn).reshape(-1, 4), axis=0)) > 2


def test_domains_that_cannot_be(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    assert "domains needs --data FOLDER" in refused(capsys, "domains", "--model", model, "--out", tmp_path / "out")
    assert "domains needs --out FOLDER" in refused(capsys, "domains", "--data", picture_folder)
    sweep = ("domains", "sweep", "--data", picture_folder)
    assert "--fewest is 4 and --most 3" in refused(capsys, *sweep, "--fewest", 4, "--most", 3)
    assert "needs the shape contrast" in refused(capsys, *sweep, "--preset", "paper")
    (tmp_path / "domains.json").write_text("{}")
    assert "domains.json exists already" in refused(capsys, *sweep, "--out", tmp_path)


def test_sweeping_the_number_of_domains(capsys: Capture, tmp_path: Path, picture_folder: Path) -> None:
    out = tmp_path / "swept"
    assert tunit("domains", "sweep", "--data", picture_folder, "--size", 32, "--steps", 2, "--out", out) == 0
    said = capsys.readouterr().out
    assert "2 domains  information" in said
    assert json.loads((out / "domains.json").read_text())["chosen"] == 2
