"""`tunit translate`: which files it writes, and the models that it is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from commands import Capture, names_in, refused, tunit
from PIL import Image

from open_tunit import TUNIT


def test_translate_a_picture_after_another(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    source, reference = picture_folder / "disc_00.png", picture_folder / "stripe_00.png"
    words = ("translate", "--model", model, "--source", source, "--reference", reference, "--out", tmp_path / "out")
    assert tunit(*words) == 0
    assert "1 translation in" in capsys.readouterr().out
    assert names_in(tmp_path / "out") == ["disc_00--stripe_00.png"]
    path = tmp_path / "out" / "disc_00--stripe_00.png"
    expected = TUNIT.from_pretrained(model).translate(source, reference)
    with Image.open(path) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (48, 40))
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))

    path.write_bytes(b"mine")
    assert "exists already; give --overwrite" in refused(capsys, *words)
    assert path.read_bytes() == b"mine"
    assert tunit(*words, "--overwrite", "--strength", "0") == 0
    with Image.open(path) as drawn:
        assert not np.array_equal(np.asarray(drawn), np.asarray(expected))


def test_nothing_is_written_where_one_picture_is_there_already(
    capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "stripe_11--domain0.png").write_bytes(b"mine")
    words = ("translate", "--model", model, "--source", picture_folder, "--domain", 0, "--out", out)
    assert "exists already" in refused(capsys, *words)
    assert names_in(out) == ["stripe_11--domain0.png"]


def test_translate_folders(tmp_path: Path, model: Path, picture_folder: Path) -> None:
    sources, references = tmp_path / "sources", tmp_path / "references"
    (sources / "deep").mkdir(parents=True)
    references.mkdir()
    shutil.copy(picture_folder / "disc_00.png", sources)
    shutil.copy(picture_folder / "disc_01.png", sources / "deep")
    for name in ("stripe_00.png", "stripe_01.png"):
        shutil.copy(picture_folder / name, references)
    out = tmp_path / "out"
    assert tunit("translate", "--model", model, "--source", sources, "--reference", references, "--out", out) == 0
    assert names_in(out) == [
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
    assert tunit("translate", "--model", model, "--source", sources, "--reference", references, "--out", out) == 0
    assert len(names_in(out)) == 4


def test_translate_into_domains(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out, source = tmp_path / "out", picture_folder / "disc_00.png"
    words = ("translate", "--model", model, "--source", source, "--out", out)
    assert tunit(*words, "--domain", "all") == 0
    assert names_in(out) == ["disc_00--domain0.png", "disc_00--domain1.png"]
    expected = TUNIT.from_pretrained(model).translate(source, domain=1)
    with Image.open(out / "disc_00--domain1.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    words = (*words, "--overwrite")
    assert "domain is 3; this model has domains 0 to 2" in refused(capsys, *words, "--domain", 3)
    assert "domain 2 has no typical style" in refused(capsys, *words, "--domain", 2)
    assert "domain is cats; this model has domains 0 to 2" in refused(capsys, *words, "--domain", "cats")
    assert "and not both" in refused(capsys, *words)
    assert "and not both" in refused(capsys, *words, "--domain", 0, "--reference", source)
    assert "strength is 7; expected 0" in refused(capsys, *words, "--domain", 0, "--strength", 7)
    assert "no.png does not exist" in refused(capsys, *words, "--reference", tmp_path / "no.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "is not an image" in refused(capsys, *words, "--reference", tmp_path / "text.png")


def test_models_that_cannot_be(capsys: Capture, tmp_path: Path, model: Path, picture_folder: Path) -> None:
    out = tmp_path / "out"

    def lines(folder: Path) -> list[str]:
        source = picture_folder / "disc_00.png"
        translate = ("translate", "--model", folder, "--source", source, "--domain", 0, "--out", out)
        return [
            refused(capsys, *translate),
            refused(capsys, "domains", "--model", folder, "--data", picture_folder, "--out", out),
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
    for line in (*lines(model), refused(capsys, "info", model)):
        assert "has format_version 3, newer than 2" in line
    config.write_text(json.dumps({"format_version": 1}))
    for line in (*lines(model), refused(capsys, "info", model)):
        assert "config.json" in line
    assert not out.exists()
