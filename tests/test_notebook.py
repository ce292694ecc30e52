"""The notebook is valid, is what its script writes, and its cells run, in a tiny form."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from open_tunit.cli.main import main

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOK = json.loads((FOLDER / "open_tunit.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
TINY = (
    "--steps 2 --set model.guiding_width=5 --set model.generator_width=4 --set discriminator.width=4 "
    "--set discriminator.max_width=8 --set training.joint_start=1 --set training.guiding_batch=8"
)
INSTALLING = ("git clone ", "pip install ")
"""Commands that need a network; what they install is what runs this test."""


def test_it_is_a_valid_notebook() -> None:
    nbformat.validate(nbformat.from_dict(NOTEBOOK))


def test_it_is_what_the_script_writes() -> None:
    assert runpy.run_path(str(FOLDER / "make.py"))["notebook"]() == NOTEBOOK


def _plain_python(cell: str) -> str:
    """The cell with `!command {NAME}` as a call of shell, as IPython reads it, and `%cd` as nothing."""
    cell = re.sub(r"^(\s*)!(.*)$", lambda m: f"{m[1]}shell(f{m[2]!r})", cell, flags=re.MULTILINE)
    return re.sub(r"^(\s*)%cd .*$", r"\1pass", cell, flags=re.MULTILINE)


def test_the_cells_run(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("open_tunit.networks.backbone.is_installed", lambda: False)
    ran: list[str] = []
    shown: list[tuple[int, int]] = []

    def shell(command: str) -> None:
        if command.startswith(INSTALLING):
            return
        program, *words = shlex.split(command)
        assert program == "tunit"
        if words[0] == "train":
            place = words.index("--minutes")
            words = [*words[:place], *words[place + 2 :], *TINY.split()]
        assert main(words) == 0, command
        ran.append(words[0])

    def display(picture: Image.Image) -> None:
        picture.load()
        shown.append(picture.size)

    names: dict[str, Any] = {"shell": shell, "display": display}
    for number, cell in enumerate(CODE):
        cell = cell.replace('DATA = "critters:5"', f"DATA = {str(picture_folder)!r}")
        exec(compile(_plain_python(cell), f"cell {number}", "exec"), names)
    assert ran == ["critters", "train", "evaluate"]
    assert len(shown) == 5
    assert (tmp_path / "model.zip").is_file()
    with Image.open("out.png") as drawn:
        assert drawn.size == (names["SIZE"], names["SIZE"])
