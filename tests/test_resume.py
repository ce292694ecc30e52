"""A run that is stopped, by Ctrl-C or by kill -9, and begun again is the run that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from open_tunit.cli.main import main

STEPS, JOINT_START, REPORT_EVERY = 24, 12, 4
PATIENCE_SECONDS = 120
SETTINGS = (
    f"report_every={REPORT_EVERY}", f"training.joint_start={JOINT_START}", "training.prototypes_start=0.5",
    "model.style_dim=8", "model.palette_dim=3",
    "model.guiding_width=4", "model.guiding_depths=[1,1,1,1,1]",
    "model.generator_width=4", "model.generator_blocks=1", "model.style_mlp_width=16",
    "model.projection_dim=8", "discriminator.width=4", "discriminator.max_width=16",
    "training.batch=4", "training.guiding_batch=8", "training.pair_steps=6", "data.views.flip=true",
)  # fmt: skip


def _words(data: Path, out: Path) -> list[str]:
    """The command line of the run: balanced prototypes begin at step 6, G at step 12, D at step 18."""
    words = ["train", "--preset", "cpu", "--data", data, "--out", out, "--steps", STEPS, "--size", 32, "--domains", 2]
    return [*map(str, words), *(word for setting in SETTINGS for word in ("--set", setting))]


def _start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "open_tunit", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _stop_after(words: list[str], checkpoint: Path, number: int) -> tuple[int, str]:
    """Start the run, send it a signal soon after `checkpoint` has appeared; its exit code and what it said."""
    with _start(words) as process:
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while not checkpoint.exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end, f"{checkpoint} never came"
                time.sleep(0.002)
            time.sleep(0.03)  # a step or two further
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    return process.returncode, out + err


def _newest(run: Path) -> dict[str, Any]:
    return dict(torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True))


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def _assert_identical(value: Any, other: Any, path: str = "") -> None:
    assert type(value) is type(other), path
    if isinstance(value, torch.Tensor):
        assert value.dtype == other.dtype, path
        assert torch.equal(value, other), path
    elif isinstance(value, dict):
        assert value.keys() == other.keys(), path
        for name in value:
            _assert_identical(value[name], other[name], f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        assert len(value) == len(other), path
        for index, (one, two) in enumerate(zip(value, other, strict=True)):
            _assert_identical(one, two, f"{path}[{index}]")
    else:
        assert value == other, path


def _assert_same_run(run: Path, straight: Path) -> None:
    """Bit for bit: what users load, and everything that a later step reads."""
    assert (run / "model" / "model.safetensors").read_bytes() == (straight / "model/model.safetensors").read_bytes()
    state, expected = _newest(run), _newest(straight)
    del state["seconds"], expected["seconds"]
    assert set(state) >= {"E", "E_ema", "G", "G_ema", "D", "opt_E", "opt_G", "opt_D", "keys", "logits", "step"}
    assert state["step"] == STEPS
    _assert_identical(state, expected)


@pytest.fixture
def straight(picture_folder: Path, tmp_path: Path) -> Path:
    """The run, never stopped, in this process."""
    run = tmp_path / "straight"
    assert main(_words(picture_folder, run)) == 0
    return run


def test_killed_in_both_phases_and_begun_again(straight: Path, picture_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    words = _words(picture_folder, run)
    for step in (4, 16):
        code, said = _stop_after(words, run / "checkpoints" / f"{step:08d}.pt", signal.SIGKILL)
        assert code == -signal.SIGKILL, said
        assert 0 < _newest(run)["step"] < STEPS
        assert step == 4 or "going on from step" in said
    at = _newest(run)["step"]
    assert at >= 16
    assert main(words) == 0
    _assert_same_run(run, straight)

    lines, expected = _lines(run), _lines(straight)
    assert [line["step"] for line in lines] == list(range(REPORT_EVERY, STEPS + 1, REPORT_EVERY))
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    for line, other in zip(lines, expected, strict=True):
        for name in {*line, *other} - {"seconds", "images_per_second"}:
            assert line[name] == other[name], (line["step"], name)
    names = {folder: sorted(path.name for path in (folder / "samples").glob("*.png")) for folder in (run, straight)}
    assert names[run] == names[straight]
    last = f"samples/{STEPS:08d}.png"
    assert (run / last).read_bytes() == (straight / last).read_bytes()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_begun_again(
    straight: Path, picture_folder: Path, tmp_path: Path, number: int, exit_code: int
) -> None:
    run = tmp_path / "interrupted"
    words = _words(picture_folder, run)
    code, said = _stop_after(words, run / "checkpoints" / "00000004.pt", number)
    assert code == exit_code, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "interrupted; the same command resumes from the last checkpoint"
    assert 4 <= _newest(run)["step"] < STEPS
    assert main(words) == 0
    _assert_same_run(run, straight)
