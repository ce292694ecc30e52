"""`tunit`, as the tests call it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from open_tunit.cli.main import main

USER_ERROR = 2


SETTINGS = (
    "model.style_dim=8", "model.palette_dim=3",
    "model.guiding_width=4", "model.guiding_depths=[1,1,1,1,1]",
    "model.generator_width=4", "model.generator_blocks=1", "model.style_mlp_width=16",
    "model.projection_dim=8", "discriminator.width=4", "discriminator.max_width=8",
    "training.batch=4", "training.guiding_batch=8", "training.joint_start=1",
    "training.pair_steps=0",
)  # fmt: skip


Capture = pytest.CaptureFixture[str]


def new_process(
    *words: str | Path | int, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """`tunit` in a new process."""
    command = [sys.executable, "-m", "open_tunit", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def tunit(*words: str | Path | int) -> int:
    return main([str(word) for word in words])


def train_words(data: Path | str, out: Path, *more: str | Path | int) -> list[str | Path | int]:
    words: list[str | Path | int] = ["train", "--preset", "cpu", "--data", data, "--out", out, "--steps", 2]
    for setting in SETTINGS:
        words += ["--set", setting]
    return [*words, *more]


def refused(capsys: Capture, *words: str | Path | int) -> str:
    """The one line that a command which cannot be gets."""
    capsys.readouterr()
    code = tunit(*words)
    captured = capsys.readouterr()
    assert code == USER_ERROR, captured.err
    (line,) = captured.err.splitlines()
    assert line.startswith("tunit: ")
    assert len(line) > len("tunit: ")
    return line


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
