"""`tunit info`."""

from __future__ import annotations

from pathlib import Path

from commands import Capture, refused, tunit

from open_tunit import TUNIT


def test_info_names_what_is_nested(capsys: Capture, tmp_path: Path, random_model: TUNIT) -> None:
    random_model.about = {"data": {"parts": {"train": 7}}}
    random_model.save_pretrained(tmp_path / "model")
    assert tunit("info", tmp_path / "model") == 0
    assert "data.parts.train         7" in capsys.readouterr().out


def test_info_names_the_domains(capsys: Capture, model: Path) -> None:
    assert tunit("info", model) == 0
    assert "domain names" not in capsys.readouterr().out
    (model / "domains.yaml").write_text("cat: 0\n")
    assert tunit("info", model) == 0
    assert capsys.readouterr().out.startswith("domain names             cat, 1")


def test_info_of_nothing(capsys: Capture, tmp_path: Path) -> None:
    assert "is not a model folder: it has no config.json" in refused(capsys, "info", tmp_path)
    assert "is not a run" in refused(capsys, "evaluate", tmp_path)
    assert "critters comes with open-tunit, where no figures" in refused(capsys, "evaluate", "critters")
    assert "evaluate needs a run" in refused(capsys, "evaluate")
    assert "evaluate needs a run" in refused(capsys, "evaluate", tmp_path, "--compare", tmp_path, tmp_path)
    assert "has no metrics.json" in refused(capsys, "evaluate", "--compare", tmp_path, tmp_path)
