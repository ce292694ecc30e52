"""`tunit doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from odd_files import encoded, picture
from PIL import Image

from open_tunit.cli.main import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, one of them transparent."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in (1, 2):
        picture(seed, (200, 160)).save(folder / f"{seed}.png")
    Image.merge("RGBA", [*picture(3, (200, 160)).split(), Image.linear_gradient("L").resize((200, 160))]).save(
        folder / "clear [red].png"
    )
    return folder


def test_a_folder_all_of_which_is_used(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(photos)]) == 0
    said = capsys.readouterr()
    assert "3 pictures are used, 1 of them converted; 0 are left out\n" in said.out
    assert "clear [red].png" in said.out
    assert said.err == ""


@pytest.mark.parametrize(("installed", "side"), [(True, 64), (False, 32)])
def test_small_is_what_is_smaller_than_the_usual_presets_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, installed: bool, side: int
) -> None:
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: installed)
    for size in (side - 2, side, side + 2):
        picture(size, (size, size)).save(tmp_path / f"{size}.png")
    assert main(["doctor", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"smaller than {side} px" in said
    assert f"{side - 2}.png" in said
    assert f"{side}.png" not in said


def test_what_is_left_out_gives_exit_code_1(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cut.png").write_bytes(encoded(picture(4), "PNG")[:300])
    (photos / "._cut.png").write_bytes(b"x")
    assert main(["doctor", str(photos), "--size", "256"]) == 1
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()]
    assert ["1", "left", "out", "is", "cut", "short", "cut.png"] in rows
    assert any(row[:4] == ["3", "to", "look", "at"] for row in rows)
    assert "(200 x 160)" in said
    assert any(row[:3] == ["1", "passed", "over"] for row in rows)
    assert "3 pictures are used, 1 of them converted; 1 are left out" in said


def test_the_manifest(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "doctor.json"
    assert main(["doctor", str(photos), "--out", str(out)]) == 0
    assert f"every file is in {out}\n" in capsys.readouterr().out
    assert [row["file"] for row in json.loads(out.read_text())["files"]] == ["1.png", "2.png", "clear [red].png"]
    assert main(["doctor", str(photos), "--out", str(out)]) == 2
    assert "doctor.json exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "nowhere does not exist; expected a folder of images"),
        (["photos/1.png"], "photos/1.png is a file; expected a folder of images"),
        (["empty"], "no images in empty; expected files ending in"),
        (["photos", "--size", "0"], "--size is 0; expected 1 pixel or more"),
        (["photos", "--out", "no/where.json"], "no is no folder"),
        ([], "missing from tunit doctor: PATH"),
    ],
)
def test_what_cannot_be_checked_is_a_line(
    photos: Path,
    words: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    assert main(["doctor", *words]) == 2
    said = capsys.readouterr()
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
