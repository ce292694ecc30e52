"""Odd and damaged files through the commands that read folders: each is used or named, and no traceback ends one."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from odd_files import LEFT_OUT, USED, garbled, write_odd_files

from open_tunit import TUNIT
from open_tunit.data.scan import scan

GARBLED = 40
LONGEST_SECONDS, MOST_BYTES = 240, 1_500_000_000
"""What a command may take; PyTorch alone maps some 700 MB."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """55 odd files and 40 picture files with wrong, missing or doubled bytes."""
    folder = tmp_path / "photos"
    write_odd_files(folder)
    for seed in range(GARBLED):
        name, content = garbled(seed)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _tunit(*words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "open_tunit", *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_SECONDS,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


def test_nothing_that_a_folder_may_hold_ends_a_command(photos: Path, tmp_path: Path, random_model: TUNIT) -> None:
    random_model.save_pretrained(tmp_path / "model")
    left_out: list[str] = []
    scanned = scan(photos, left_out=lambda file, _: left_out.append(file))

    done = _tunit("doctor", photos, "--size", "32", "--out", tmp_path / "m.json")
    assert done.returncode == 1, done.stderr
    uses = {row["file"]: row["use"] for row in json.loads((tmp_path / "m.json").read_text())["files"]}
    readable = {file for file, use in uses.items() if use == USED}
    unreadable = {file for file, use in uses.items() if use == LEFT_OUT}
    assert readable | unreadable == {*scanned, *left_out}

    done = _tunit(
        "translate", "--model", tmp_path / "model", "--source", photos, "--domain", "0", "--out", tmp_path / "t"
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "t").rglob("*.png"))) == len(readable)
    named = [file for file in unreadable if f"warning: {photos / file} " not in done.stdout]
    assert named == []
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MOST_BYTES
