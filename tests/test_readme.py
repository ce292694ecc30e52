"""The README's commands and Python lines are run, or named here with the reason why not."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Capture
from PIL import Image

from open_tunit.cli.main import main
from open_tunit.networks.backbone import HOW_TO_INSTALL, is_installed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TINY_PHOTOS = (
    "--size 32 --domains 2 --steps 3 --set model.style_dim=12 --set model.palette_dim=4 --set model.generator_width=4 "
    "--set discriminator.width=8 --set training.batch=4"
)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_shell_command_is_known() -> None:
    lines = [line.partition("#")[0].strip() for block in _blocks("sh") for line in block.splitlines() if line.strip()]
    kinds = {
        "make ": "run by .ci/run (test) and by hand (install, demo: six minutes)",
        "python3 -m venv": "run by the Makefile",
        ".venv/bin/pip": "run by the Makefile",
        ".venv/bin/tunit train": "run below",
        ".venv/bin/tunit translate": "run below",
        ".venv/bin/tunit serve": "run by tests/test_page.py",
    }
    unknown = [line for line in lines if not any(line.startswith(kind) for kind in kinds)]
    assert not unknown


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", "\n".join(_blocks("sh"))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def _shell_words(command: str) -> list[str]:
    """The words after `tunit` of the README's line with that command."""
    (line,) = [line for block in _blocks("sh") for line in block.splitlines() if f"tunit {command}" in line]
    return shlex.split(line, comments=True)[1:]


def test_two_pictures_of_ones_own(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("a.jpg", "disc_00.png"), ("b.jpg", "stripe_00.png")):
        with Image.open(picture_folder / source) as picture:
            picture.save(name)
    assert main(_shell_words("translate")) == 0
    with Image.open("out/a--b.png") as output:
        assert output.size == (48, 40)


def test_the_lines_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src", target_is_directory=True)
    (python,) = _blocks("python")
    names: dict[str, Any] = {}
    exec(compile(python, "README.md", "exec"), names)
    found = ast.literal_eval(capsys.readouterr().out)
    assert found.keys() == {"apple", "lemon", "mango", "raspberry"}
    assert max(found, key=found.__getitem__) == "apple"
    translated = names["model"].domains("out.png")[0].tolist()
    assert names["model"].naming.names[int(np.argmax(translated))] == "raspberry"


@pytest.mark.skipif(not is_installed(), reason=f"needs the weights: {HOW_TO_INSTALL}")
def test_the_line_for_ones_own_folder(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(picture_folder, target_is_directory=True)
    words = _shell_words("train")
    for flag in ("--domains", "--minutes"):
        del words[words.index(flag) : words.index(flag) + 2]
    assert main([*words, *TINY_PHOTOS.split()]) == 0
    assert (tmp_path / "runs" / "photos" / "model" / "config.json").is_file()
    assert list((tmp_path / "runs" / "photos" / "samples").iterdir())


def test_the_commands_of_the_table_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in sorted(set(re.findall(r"`tunit ([a-z-]+)", README))):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0, command
