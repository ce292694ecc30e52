"""Losses that are no numbers: their batch is kept, and a run may go back and draw others."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import _assert_identical, _newest
from tiny import train_tiny

from open_tunit import Config
from open_tunit.data.batches import Batch, PairBatch
from open_tunit.runs import NOT_FINITE, Run
from open_tunit.training import loop
from open_tunit.training.session import turns
from open_tunit.training.session.interrupts import Interrupted
from open_tunit.training.session.monitor import Monitor
from open_tunit.training.session.recovery import MOST_RETRIES
from open_tunit.training.steps.descent import NotFiniteError

STEPS, REPORT_EVERY, SPOILT = 10, 4, 5
PHASES: dict[str, dict[str, Any]] = {
    "joint": {"training.joint_start": 2, "training.pair_steps": 0},
    "pairs": {"training.joint_start": 5, "training.pair_steps": 2, "training.pair_weight": 2.0},
}
Spoil = Callable[[int, int], None]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """spoil(step, times): the batch of this step is no number until the run has gone back so often."""

    def choose(step: int, times: int) -> None:
        honest = loop.batch_of

        def batch_of(batches: Any, phase: Any, number: int, size: int) -> Batch | PairBatch:
            batch = honest(batches, phase, number, size)
            if number != step or batches.retry >= times:
                return batch
            name = "x" if isinstance(batch, Batch) else "x_content"
            return dataclasses.replace(batch, **{name: getattr(batch, name) * float("nan")})

        monkeypatch.setattr(loop, "batch_of", batch_of)

    monkeypatch.setattr(turns, "LEAST_CONFIDENCE", 0.0)
    return choose


def _train(data: Path, out: Path, phases: str = "joint", **fields: Any) -> Path:
    fields = {"steps": STEPS, "report_every": REPORT_EVERY, "on_nan": "retry", "overrides": PHASES[phases]} | fields
    return train_tiny(data, out, **fields)


def _steps(run: Path) -> list[int]:
    return [int(path.stem) for path in sorted((run / "checkpoints").iterdir())]


def test_the_batch_and_the_losses_are_kept(picture_folder: Path, tmp_path: Path, spoil: Spoil) -> None:
    spoil(SPOILT, 1)
    with pytest.raises(NotFiniteError, match=r"not finite at step 5 .*not_finite\.pt; .* keeps the last good"):
        _train(picture_folder, tmp_path / "run", on_nan="stop")
    kept = torch.load(tmp_path / "run" / NOT_FINITE, weights_only=True)
    assert (kept["step"], kept["phase"], kept["retries"]) == (SPOILT, "joint", 0)
    assert any(value != value for value in kept["losses"].values())
    assert kept["batch"]["x"].isnan().all()
    assert kept["batch"]["x_content"].isfinite().all()
    assert set(kept["batch"]["translation_numbers"]) == {"geometry", "colours"}
    assert _steps(tmp_path / "run") == [4]
    assert Run(tmp_path / "run").model_step() == 4


def test_a_batch_that_cannot_be_kept_hides_no_error(
    picture_folder: Path, tmp_path: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    spoil(SPOILT, 1)
    monkeypatch.setattr(Run, "save_not_finite", full)
    with pytest.raises(NotFiniteError, match=r"its batch could not be kept \(No space left"):
        _train(picture_folder, tmp_path / "run", on_nan="stop")


@pytest.mark.parametrize(("phases", "step"), [("joint", 1), ("pairs", SPOILT), ("pairs", 7)])
def test_a_run_that_went_back_is_the_same_wherever_it_was_stopped(
    picture_folder: Path, tmp_path: Path, spoil: Spoil, monkeypatch: pytest.MonkeyPatch, phases: str, step: int
) -> None:
    clean = _train(picture_folder, tmp_path / "clean", phases)
    spoil(step, 2)
    whole = _train(picture_folder, tmp_path / "whole", phases)
    counted, stops = Monitor.step, [number for number in range(step, STEPS) if number % REPORT_EVERY][:2]

    def stopping(self: Monitor, terms: Any, number: int, *more: Any) -> None:
        counted(self, terms, number, *more)
        if stops and number == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Monitor, "step", stopping)
    stopped = tmp_path / "stopped"
    for _ in list(stops):
        with pytest.raises(Interrupted):
            _train(picture_folder, stopped, phases)
    _train(picture_folder, stopped, phases)
    assert not stops
    states = [_newest(run) for run in (whole, stopped, clean)]
    for state in states:
        del state["seconds"]
    assert [state.pop("retries") for state in states] == [2, 2, 0]
    _assert_identical(states[0], states[1])
    assert not torch.equal(states[0]["G"]["decoder.out.weight"], states[2]["G"]["decoder.out.weight"])
    logs = [Run(run).log() for run in (whole, stopped)]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]] == [4, 8, 10]
    assert (whole / "model" / "model.safetensors").read_bytes() == (stopped / "model/model.safetensors").read_bytes()


def test_the_checkpoint_to_go_back_to_stays_while_others_are_saved(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Monitor.step

    def stopping(self: Monitor, terms: Any, number: int, *more: Any) -> None:
        counted(self, terms, number, *more)
        if number in (5, 6, 7):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Monitor, "step", stopping)
    for _ in range(3):
        with pytest.raises(Interrupted):
            _train(picture_folder, tmp_path / "run")
    assert _steps(tmp_path / "run") == [4, 6, 7]
    _train(picture_folder, tmp_path / "run")
    assert _steps(tmp_path / "run") == [8, 10]


def test_three_times_are_enough(
    picture_folder: Path, tmp_path: Path, spoil: Spoil, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(SPOILT, MOST_RETRIES + 1)
    run = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(NotFiniteError, match=rf"after going back {MOST_RETRIES} times; .*keeps the last good"):
            _train(picture_folder, run)
    said = capsys.readouterr().out
    assert said.count("going back to step 4, with other draws (3 of 3 times)") == 2
    assert _steps(run) == [4]
    assert torch.load(run / NOT_FINITE, weights_only=True)["retries"] == MOST_RETRIES


def test_weights_that_are_no_numbers_are_gone_back_from(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An update may overflow though its loss is finite."""
    counted, spoilt = Monitor.step, []

    def spoiling(self: Monitor, terms: Any, number: int, *more: Any) -> None:
        counted(self, terms, number, *more)
        if number == 8 and not spoilt:
            spoilt.append(number)
            with torch.no_grad():
                sessions[0].state.G.decoder.out.weight.fill_(float("nan"))

    sessions: list[Any] = []
    go_on = loop._Session.go_on

    def noted(self: Any) -> None:
        sessions.append(self)
        go_on(self)

    monkeypatch.setattr(loop._Session, "go_on", noted)
    monkeypatch.setattr(Monitor, "step", spoiling)
    _train(picture_folder, tmp_path / "run")
    assert "weights are not finite after step 8; going back to step 4" in capsys.readouterr().out
    assert Run(tmp_path / "run").model_step() == STEPS


def test_a_run_may_be_told_later_to_go_back(picture_folder: Path, tmp_path: Path, spoil: Spoil) -> None:
    spoil(SPOILT, 1)
    with pytest.raises(NotFiniteError):
        _train(picture_folder, tmp_path / "run", on_nan="stop")
    run = _train(picture_folder, tmp_path / "run")
    assert Config.from_yaml((run / "config.yaml").read_text()).on_nan == "retry"
    assert _newest(run)["retries"] == 1
