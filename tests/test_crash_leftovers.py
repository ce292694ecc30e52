"""What a crash leaves in a run's folder stops no command, and is cleared away."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from open_tunit import Config, train
from open_tunit.cli.main import main
from open_tunit.files import STALE_SECONDS, read_json, read_json_lines, write_atomic
from open_tunit.runs import DATA, LOG, METRICS, Run


def _again(run: Path, steps: int) -> None:
    config = Config.from_yaml((run / "config.yaml").read_text())
    train(config.replace({"out": str(run), "training.steps": steps}))


def _temporary(target: Path, age_seconds: float) -> Path:
    """A file that a write of `target` left when its process was killed so long ago."""
    left: list[Path] = []

    def write(path: Path) -> None:
        os.link(path, path.with_name(f"aside{path.suffix}"))
        left.append(path)

    write_atomic(target, write)
    aside = target.with_name(f"aside{left[0].suffix}")
    aside.rename(left[0])
    os.utime(left[0], (left[0].stat().st_mtime - age_seconds,) * 2)
    target.unlink()
    return left[0]


def test_damaged_records_stop_no_command(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (tiny_run / LOG).read_bytes()
    (tiny_run / LOG).write_bytes(lines + '{"step": 3, "phase": "grö'.encode()[:-1])
    (tiny_run / DATA).write_bytes(b"")
    (tiny_run / METRICS).write_bytes(b"")
    for folder in (tiny_run, tiny_run / "model", tiny_run / "checkpoints", tiny_run / "samples"):
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert main(["info", str(tiny_run)]) == 0
    assert "last report.step" in capsys.readouterr().out
    words = ["push", str(tiny_run), "me/model", "--license", "cc0-1.0", "--dry-run", str(tmp_path / "staged")]
    assert main(words) == 0
    with pytest.warns(UserWarning, match="kept as metrics-unknown"):
        assert main(["evaluate", str(tiny_run), "--pairs", "4"]) == 0
    _again(tiny_run, steps=3)
    assert "warning: data.json is damaged" in capsys.readouterr().out
    assert [json.loads(line)["step"] for line in (tiny_run / LOG).read_text().splitlines()] == [1, 2, 3]
    assert "fingerprint" in read_json(tiny_run / DATA)


def test_an_empty_log_stops_no_command(tiny_run: Path, tmp_path: Path) -> None:
    (tiny_run / LOG).write_bytes(b"")
    assert main(["info", str(tiny_run)]) == 0
    words = ["push", str(tiny_run), "me/model", "--license", "cc0-1.0", "--dry-run", str(tmp_path / "staged")]
    assert main(words) == 0
    assert not (tmp_path / "staged" / "samples.png").exists()


def test_what_killed_writes_left_is_swept(tiny_run: Path) -> None:
    stale = [_temporary(tiny_run / name, 2 * STALE_SECONDS) for name in ("data.txt", "checkpoints/00000009.pt")]
    fresh, others = _temporary(tiny_run / "figures.json", 0), tiny_run / ".notes"
    others.write_text("mine")
    os.utime(others, (0, 0))
    assert all(path.exists() for path in stale)
    _again(tiny_run, steps=2)
    assert not any(path.exists() for path in stale)
    assert fresh.exists()
    assert others.exists()


def test_a_run_begins_in_a_folder_that_a_file_manager_or_a_killed_start_was_in(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    _temporary(run / "data.json", 0)
    (run / "lock").write_text("")
    config = Config.from_yaml((tiny_run / "config.yaml").read_text())
    train(config.replace({"out": str(run)}))
    assert Run(run).model_step() == 2


def test_reading_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert (read_json(path), read_json_lines(path)) == ({}, [])
    for text in ("", "[1]", "{", '{"a": 1} {', "\0\0"):
        path.write_text(text)
        assert (read_json(path), read_json_lines(path)) == ({}, [])
    path.write_text('{"a": 1}\n{"a": 2')
    assert (read_json(path), read_json_lines(path)) == ({}, [{"a": 1}])
