"""The Dockerfile, as far as it can be checked where nothing can be built: what it copies, installs and starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    line.strip().partition(" ")[::2]
    for line in re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _all(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def test_every_line_is_an_instruction() -> None:
    assert {name for name, _ in STEPS} <= {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}
    assert STEPS[0][0] == "FROM"


def test_what_is_copied_is_there_and_is_let_through() -> None:
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for copied in _all("COPY"):
        *sources, _ = copied.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in let_through


def test_the_python_is_one_that_we_support() -> None:
    (image,) = _all("FROM")
    match = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert match
    assert int(match[1]) >= int(PROJECT["project"]["requires-python"].removeprefix(">=3."))


def test_the_extras_and_the_command_exist() -> None:
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", TEXT)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert "photos" in extras.split(","), "the preset that train takes for a folder"
    assert _all("ENTRYPOINT") == ['["tunit"]']
    assert "tunit" in PROJECT["project"]["scripts"]


@pytest.mark.parametrize(
    ("compute", "index"), [("cpu", "https://download.pytorch.org/whl/cpu"), ("cuda", "https://pypi.org/simple")]
)
def test_the_build_argument_chooses_torch(compute: str, index: str, tmp_path: Path) -> None:
    done = _torch_step(compute, tmp_path)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[words.index("--index-url") + 1] == index
    (pinned,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert words[-1] == pinned


def test_another_build_argument_is_refused(tmp_path: Path) -> None:
    done = _torch_step("gpu", tmp_path)
    assert done.returncode != 0
    assert "expected cpu or cuda" in done.stderr


def _torch_step(compute: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The first RUN line in a real shell, with a pip that says what it was asked."""
    (folder / "context").mkdir()
    shutil.copy(ROOT / "constraints.txt", folder / "context")
    (folder / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (folder / "pip").chmod(0o755)
    script = _all("RUN")[0].replace("/tmp/", f"{folder}/")
    return subprocess.run(
        ["sh", "-euc", script],
        cwd=folder / "context",
        env={"PATH": f"{folder}:/usr/bin:/bin", "COMPUTE": compute},
        capture_output=True,
        text=True,
    )
