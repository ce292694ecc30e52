"""training/session/interrupts.py: the checkpoint comes first, the report waits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import train_tiny

from open_tunit import TUNIT
from open_tunit.runs import Run
from open_tunit.training.session.interrupts import Interrupted, Interrupts
from open_tunit.training.session.monitor import Monitor


def _steps(run: Path) -> list[int]:
    return [int(path.stem) for path in sorted((run / "checkpoints").iterdir())]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_report_is_left_for_the_checkpoint(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, exit_code: int
) -> None:
    whole = train_tiny(picture_folder, tmp_path / "whole", steps=4)
    report = Monitor.report

    def endless(self: Monitor, model: TUNIT, step: int, *more: Any) -> None:
        if step == 4:
            signal.raise_signal(number)
            pytest.fail("the report goes on")
        report(self, model, step, *more)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "report", endless)
        with pytest.raises(Interrupted) as caught:
            train_tiny(picture_folder, run, steps=4)
    assert caught.value.exit_code == exit_code
    assert _steps(run) == [3, 4]
    assert Run(run).model_step() == 3
    train_tiny(picture_folder, run, steps=4)  # nothing to train, but a model to write
    assert Run(run).model_step() == 4
    weights = [TUNIT.from_pretrained(folder / "model").state_dict() for folder in (run, whole)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_signal_between_reports_saves_the_step(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Monitor.step

    def counted(self: Monitor, terms: Any, number: int, *more: Any) -> None:
        step(self, terms, number, *more)
        if number == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Monitor, "step", counted)
    with pytest.raises(Interrupted):
        train_tiny(picture_folder, tmp_path / "run", steps=9, report_every=9)
    assert _steps(tmp_path / "run") == [2]
    assert not (tmp_path / "run" / "model").exists()


def test_the_second_signal_stops_at_once() -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.unless_interrupted(lambda: "done") is None
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
    with Interrupts() as interrupts:
        assert interrupts.unless_interrupted(lambda: "done") == "done"
        assert interrupts.unless_interrupted(lambda: signal.raise_signal(signal.SIGINT)) is None
        assert interrupts.signals == [signal.SIGINT]
