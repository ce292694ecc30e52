"""monitor.py: what a run tells while it goes on."""

from __future__ import annotations

import io
import re
import sys
import types
from pathlib import Path

import pytest
from rich.console import Console
from tiny import (
    Begin,
    lines_of,
    ticking,
    trained,
)

from open_tunit import train


def test_a_terminal_has_a_line_of_progress(config: Begin) -> None:
    said = io.StringIO()
    train(config(steps=4), console=Console(file=said, width=300, force_terminal=True))
    for part in ("guiding", "joint", "step 4/4", "img/s", "reconstruction 0.", "0:00:00"):
        assert part in said.getvalue()


def test_plain_output_says_what_is_left(config: Begin, tmp_path: Path) -> None:
    guiding, first, last = (line for line in trained(config(steps=6))[1].splitlines() if " img/s " in line)
    assert "left" not in guiding
    assert re.search(r"^joint 4/6 \d+ img/s \d+ s left style_contrast", first)
    assert "left" not in last
    asked = config(steps=None, joint_start=None, minutes=0.1, report_every=1, out=str(tmp_path / "other"))
    _, said = trained(asked, clock=ticking(0.05))
    assert re.search(r"^guiding 1/\d+ \d+ img/s \d s left style_contrast", said, re.MULTILINE)


def test_tensorboard_gets_the_log(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(Path(config().out) / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def close(self) -> None:
            told.append(("closed", 0, 0))

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorboard")
    trained(config())
    logged = [
        (name, value, line["step"])
        for line in lines_of(config())
        for name, value in line.items()
        if isinstance(value, (int, float)) and name != "step"
    ]
    assert told == [*logged, ("closed", 0, 0)]
