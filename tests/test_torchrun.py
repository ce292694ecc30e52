"""`tunit train` by several processes: the same run, one line where it cannot be, and on from where one was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import double_run
import pytest
import torch
from conftest import _draw_pictures
from several import Ended, as_torchrun
from test_resume import _lines, _newest, _words

from open_tunit import TUNIT
from open_tunit.cli.main import main

PATIENCE_SECONDS = 280


def words_of(data: Path, out: Path, *more: str) -> list[str]:
    return [*_words(data, out), "--device", "cpu", "--set", "precision=float32", *more]


def tunit(size: int, folder: Path, words: list[str], stop: Path | None = None) -> list[Ended]:
    return as_torchrun(double_run.run, size, folder, words, stop=stop)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Ended]]:
    """A folder of pictures, and a run of two processes on it."""
    folder = tmp_path_factory.mktemp("torchrun")
    pictures = _draw_pictures(folder / "pictures")
    ended = tunit(2, folder / "ended", words_of(pictures, folder / "run"))
    assert [process.code for process in ended] == [0, 0], ended
    return pictures, folder / "run", ended


def test_one_process_writes_and_tells(by_two: tuple[Path, Path, list[Ended]]) -> None:
    _, run, (first, other) = by_two
    assert first.out.count("model: ") == 1
    assert other.out == ""
    assert [line["step"] for line in _lines(run)] == [4, 8, 12, 16, 20, 24]
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "data.json", "files.json", "model", "samples"}
    assert not (run / "lock").exists()
    assert TUNIT.from_pretrained(run / "model").about["step"] == _newest(run)["step"] == 24


def test_it_is_the_run_of_one_process(by_two: tuple[Path, Path, list[Ended]], tmp_path: Path) -> None:
    pictures, run, _ = by_two
    (ended,) = tunit(1, tmp_path / "ended", words_of(pictures, tmp_path / "run"))
    assert ended.code == 0, ended.err
    for mine, theirs in zip(_lines(run), _lines(tmp_path / "run"), strict=True):
        for name in (name for name in theirs if name.startswith("loss/")):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), (mine["step"], name)


def test_a_run_of_two_goes_on_as_three(by_two: tuple[Path, Path, list[Ended]], tmp_path: Path) -> None:
    pictures, run = by_two[0], Path(shutil.copytree(by_two[1], tmp_path / "run"))
    ended = tunit(3, tmp_path / "ended", words_of(pictures, run, "--steps", "26"))
    assert [process.code for process in ended] == [0, 0, 0], ended
    assert "going on from step 24 of 26" in ended[0].out
    assert _newest(run)["step"] == 26


def test_a_killed_process_changes_nothing(by_two: tuple[Path, Path, list[Ended]], tmp_path: Path) -> None:
    """Killed in the joint phase, begun again by torchrun: the run that went through."""
    pictures, whole, _ = by_two
    run = tmp_path / "run"
    begin = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run(
        [sys.executable, *begin, double_run.__file__, *words_of(pictures, run)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DEATHS": "0@21"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "going on" in line] == ["going on from step 20 of 24"]
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
    by_two: tuple[Path, Path, list[Ended]], tmp_path: Path, more: tuple[str, str], named: str
) -> None:
    ended = tunit(3, tmp_path / "ended", words_of(by_two[0], tmp_path / "run", *more))
    assert [process.code for process in ended] == [2, 2, 2]
    (line,) = [line for process in ended for line in process.err.splitlines() if line.startswith("tunit: ")]
    assert named in line
    assert not (tmp_path / "run").exists()


def unlike(words: list[str], others: list[str]) -> int:
    """`tunit` with other words in process 1."""
    return main(others if os.environ["RANK"] == "1" else words)


def test_processes_that_would_train_other_runs(by_two: tuple[Path, Path, list[Ended]], tmp_path: Path) -> None:
    pictures = by_two[0]
    other = Path(shutil.copytree(pictures, tmp_path / "other"))
    (other / "disc_03.png").unlink()
    for words, named in ((["--seed", "1"], "seed"), (["--data", str(other)], "images")):
        asked = words_of(pictures, tmp_path / "run")
        ended = as_torchrun(unlike, 2, tmp_path / named, asked, [*asked, *words])
        assert [process.code for process in ended] == [2, 2]
        (line,) = [line for process in ended for line in process.err.splitlines() if line.startswith("tunit: ")]
        assert "process 1" in line
        assert named in line
        assert not (tmp_path / "run").exists()


def test_a_signal_to_one_process_ends_all_with_a_checkpoint(
    by_two: tuple[Path, Path, list[Ended]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = as_torchrun(main, 2, tmp_path, words_of(by_two[0], run, "--steps", "1000000"), stop=run / "model")
    assert [process.code for process in ended] == [128 + signal.SIGTERM] * 2
    assert _newest(run)["step"] >= 4
