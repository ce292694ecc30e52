"""`tunit train` under torchrun: the same run, one line where it cannot be, and on from where a process was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from test_resume import _lines, _newest, _words

from open_tunit import TUNIT

pytestmark = pytest.mark.timeout(1500)
PATIENCE_SECONDS = 600
SCRIPT = """
import functools, os, signal, sys, torch
from open_tunit.cli.main import main
from open_tunit.training import loop, starting

starting.new_state = functools.partial(starting.new_state, dtype=torch.float64)
starting.Batches = functools.partial(starting.Batches, dtype=torch.float64)
take = loop._Session._one_step

def one_step(self):
    deaths = os.environ.get("DEATHS", "").split()[int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):]
    if deaths and deaths[0] == f"{self.group.rank}@{self.state.step}":
        os.kill(os.getpid(), signal.SIGKILL)
    return take(self)

loop._Session._one_step = one_step
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
"""`tunit` in float64, whose rounding stays small, with processes that die: DEATHS is `RANK@STEP` for each start."""


def torchrun(
    count: int, *words: str, restarts: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`-m open_tunit ...` or a script with its words, in `count` processes."""
    begin = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [sys.executable, *begin, "--max-restarts", str(restarts), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that our processes print when they stop."""
    return [line for line in done.stderr.splitlines() if line.startswith("tunit: ")]


def words_of(data: Path, out: Path, *more: str) -> list[str]:
    return [*_words(data, out), "--device", "cpu", "--set", "precision=float32", *more]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("script") / "double.py"
    path.write_text(SCRIPT)
    return str(path)


@pytest.fixture(scope="module")
def by_two(script: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of pictures, and a run of two processes on it."""
    from conftest import _draw_pictures

    folder = tmp_path_factory.mktemp("torchrun")
    pictures = _draw_pictures(folder / "pictures")
    done = torchrun(2, script, *words_of(pictures, folder / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model: ") == 1
    return pictures, folder / "run"


def test_a_run_of_two_processes_is_written_once(by_two: tuple[Path, Path]) -> None:
    _, run = by_two
    assert [line["step"] for line in _lines(run)] == [4, 8, 12, 16, 20, 24]
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "data.json", "log.jsonl", "model", "samples"}
    assert not (run / "lock").exists()
    model = TUNIT.from_pretrained(run / "model")
    assert model.about["step"] == 24
    assert _newest(run)["step"] == 24


def test_it_is_the_run_of_one_process(by_two: tuple[Path, Path], script: str, tmp_path: Path) -> None:
    pictures, run = by_two
    words = words_of(pictures, tmp_path / "run")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(_lines(run), _lines(tmp_path / "run"), strict=True):
        for name in (name for name in theirs if name.startswith("loss/")):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), (mine["step"], name)


def test_a_run_of_two_goes_on_as_one_and_as_three(by_two: tuple[Path, Path], script: str, tmp_path: Path) -> None:
    pictures, run = by_two[0], Path(shutil.copytree(by_two[1], tmp_path / "run"))
    for count, steps in ((1, 26), (3, 28)):
        done = torchrun(count, script, *words_of(pictures, run, "--steps", str(steps)))
        assert done.returncode == 0, done.stderr
        assert f"going on from step {steps - 2} of {steps}" in done.stdout
        assert _newest(run)["step"] == steps


def test_killed_processes_change_nothing(by_two: tuple[Path, Path], script: str, tmp_path: Path) -> None:
    """Killed while E learns and in the joint phase, begun again by torchrun: the run that went through."""
    pictures, whole = by_two
    run = tmp_path / "run"
    done = torchrun(2, script, *words_of(pictures, run), restarts=2, environment={"DEATHS": "1@6 0@21"})
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "going on from" in line] == [
        f"going on from step {step} of 24" for step in (4, 20)
    ]
    ours, theirs = _newest(run), _newest(whole)
    for name in ("E", "E_ema", "G", "G_ema", "D"):
        for key, value in theirs[name].items():
            assert torch.equal(value, ours[name][key]), (name, key)
    assert [line["step"] for line in _lines(run)] == [4, 8, 12, 16, 20, 24]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--set", "training.batch=2"), "training.batch"),  # of three processes
        (("--data", "no/such/folder"), "no/such/folder"),
        (("--device", "cuda:0"), "cuda:0"),
    ],
)
def test_what_cannot_be_is_one_line(
    by_two: tuple[Path, Path], tmp_path: Path, more: tuple[str, str], named: str
) -> None:
    pictures, _ = by_two
    done = torchrun(3, "-m", "open_tunit", *words_of(pictures, tmp_path / "run", *more))
    (line,) = said(done)
    assert named in line
    assert "open_tunit/cli" not in done.stderr  # no trace but torchrun's own
    assert not (tmp_path / "run").exists()
