"""estimate.py: how long, how much memory, and what would fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from machine import Machine
from small_runs import CPU, noisy_batches, tiny

from open_tunit.device import describe, memory_size, peak_memory
from open_tunit.settings.config import Config
from open_tunit.training.pacing.estimate import LONG, Estimate, estimate, fitting, in_words, less_memory

LENGTHS = {"training__steps": 200_000, "training__joint_start": 65_000}


def test_a_long_run_is_timed_by_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 5.6)
    given = {"done": 0, "spent": 0.0, "half": False, "clock": machine.clock}
    found = estimate(tiny(**LENGTHS), noisy_batches(24, torch.float32), **given)  # type: ignore[arg-type]
    assert found.seconds == pytest.approx(200_000 * 5.6, rel=0.1)
    assert found.too_long
    told = re.fullmatch(r"(\d{3}) hours \((\d\d) days\) on this machine \((.*)\): (.*) at 5\.\d s", found.time())
    assert told is not None
    assert told.groups()[2:] == (describe(CPU), "200,000 steps")
    assert machine.taken == {"guiding": 1, "joint": 2}


def test_a_short_run_is_timed_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 0.5)
    plan = tiny(training__steps=100, training__joint_start=50)
    found = estimate(plan, noisy_batches(24, torch.float32), done=60, spent=9.0, half=False, clock=machine.clock)
    assert found.seconds == pytest.approx(40 * 0.5)
    assert found.time().startswith("less than a minute on this machine (CPU, ")
    assert found.time().endswith(": 40 of 100 steps at 0.5 s")
    assert machine.taken == {"joint": 1}


def test_minutes_are_not_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 0.5)
    plan = tiny(minutes=30.0, training__steps=100)
    found = estimate(plan, noisy_batches(24, torch.float32), done=20, spent=600.0, half=False, clock=machine.clock)
    assert found.time() == f"20 minutes on this machine ({describe(CPU)}): 80 of 100 steps at 15 s"
    assert found.memory is None
    assert not machine.taken
    begun = estimate(plan, noisy_batches(24, torch.float32), done=0, spent=0.0, half=False, clock=machine.clock)
    assert begun.memory == pytest.approx(peak_memory(CPU), rel=0.1)


def test_a_gpu_may_take_days() -> None:
    for device, too_long in (("cpu", True), ("cuda", False)):
        assert Estimate(plan=tiny(), device=torch.device(device), done=0, seconds=LONG + 1).too_long == too_long
    assert not Estimate(plan=tiny(), device=CPU, done=0, seconds=LONG).too_long
    assert not Estimate(plan=tiny(minutes=2000.0), device=CPU, done=0, seconds=LONG + 1).too_long


def test_what_fits_is_the_small_preset_for_as_long_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, lambda *_: 0.1)
    config = Config.preset("default", data="photos", out="run")
    assert fitting(config, 4000, CPU, machine.clock) == "--preset cpu --minutes 10 (32 px)"  # 3,000 steps and reports
    machine = Machine(monkeypatch, lambda *_: 1.0)
    assert fitting(config, 4000, CPU, machine.clock) == "--preset cpu --minutes 55 (32 px)"


@pytest.mark.parametrize(("preset", "size", "settings", "words"), [
    ("default", 128, {}, "--set training.batch=16 (about half as much) or --size 64 (about a quarter) needs less"),
    ("cpu", 32, {}, "--set training.batch=4 --set training.guiding_batch=16 (about half as much) needs less"),
    ("default", 64, {"training.batch": 2}, "--size 32 (about a quarter) needs less"),
    ("default", 32, {"training.batch": 3}, "it is the smallest"),
])  # fmt: skip
def test_the_settings_that_need_less_memory(preset: str, size: int, settings: dict[str, int], words: str) -> None:
    assert less_memory(Config.preset(preset, data="photos", out="run", size=size, overrides=settings)) == words


@pytest.mark.parametrize(("seconds", "words"), [
    (1, "less than a minute"), (61, "1 minute"), (2100, "35 minutes"), (5700, "2 hours"), (111_600, "31 hours"),
    (1_116_000, "310 hours (13 days)"), (6_249_600, "1,736 hours (72 days)"),
])  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="compared with what Linux tells")
def test_memory_is_what_the_system_tells() -> None:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert memory_size(CPU) == int(meminfo["MemTotal"].split()[0]) * 1024
    assert peak_memory(CPU) == pytest.approx(int(status["VmHWM"].split()[0]) * 1024, rel=0.02)
    known = Estimate(plan=tiny(), device=CPU, done=0, seconds=1, memory=2_000_000_000)
    assert re.fullmatch(r"2\.0 GB of \d+ GB", known.memory_in_words())
    assert peak_memory(torch.device("meta")) is None
