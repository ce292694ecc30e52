"""lock.py: one process at a time trains a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import train_tiny

from open_tunit.lock import RunInUseError, locked
from open_tunit.runs import LOCK

HOLD = """
import sys, time
from pathlib import Path
from open_tunit.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_in_progress_is_refused_to_others(picture_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with _holder(run / LOCK) as other:
        try:
            with pytest.raises(RunInUseError, match=rf"being trained by process {other.pid} on .*; stop that one"):
                train_tiny(picture_folder, run)
            assert [path.name for path in run.iterdir()] == [LOCK]
        finally:
            other.kill()


def test_the_lock_of_a_killed_process_is_taken_over(picture_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with _holder(run / LOCK) as other:
        other.kill()
    assert (run / LOCK).exists()
    train_tiny(picture_folder, run)
    assert (run / "model").is_dir()
    assert not (run / LOCK).exists()


def test_folders_are_made_and_removed_again_where_they_stay_empty(tmp_path: Path) -> None:
    for kept in (False, True):
        with locked(tmp_path / "a" / "b" / LOCK):
            assert (tmp_path / "a" / "b" / LOCK).exists()
            if kept:
                (tmp_path / "a" / "mine").write_text("text")
        assert [path.name for path in tmp_path.rglob("*")] == (["a", "mine"] if kept else [])


def test_a_lock_is_had_once(tmp_path: Path) -> None:
    with locked(tmp_path / LOCK), pytest.raises(RunInUseError), locked(tmp_path / LOCK):
        pass
    with locked(tmp_path / LOCK):
        pass
