"""Training runs that are killed, stopped, raced for, or find the disk full: none may lose anything."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Ended, Outcome, Place, Process, command, ended

from open_tunit.files import TEMPORARY, naming, read_json, write_text_atomic
from open_tunit.runs import LOG, Run
from open_tunit.training.session.monitor import Monitor

STEPS, REPORT_EVERY = 24, 4
TINY = {
    "report_every": REPORT_EVERY, "training.joint_start": 12, "training.prototypes_start": 0.5,
    "training.pair_steps": 6, "model.style_dim": 8, "model.palette_dim": 3, "model.guiding_width": 4,
    "model.generator_width": 4, "model.style_mlp_width": 16, "model.projection_dim": 8,
    "discriminator.width": 4, "discriminator.max_width": 8, "training.batch": 4, "training.guiding_batch": 8,
}  # fmt: skip
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("cpu", {}),
    ("cpu", {"training.pair_steps": 0, "data.views.flip": "true"}),
    ("cpu", {"data.labels": "folders"}),
    ("cpu", {"training.schedule": "separate", "training.pair_steps": 0}),
    ("paper", {"model.palette_dim": 0, "training.prototypes_start": 0.0}),
    ("paper", {"model.palette_dim": 0, "training.prototypes_start": 0.0, "data.labels": "folders"}),
    ("default", {"training.r1_every": 3}),
]
MOST_TRIES = 60
"""Sessions of one run; the last one is left alone."""
ASKED = ("at once", "half-written", "when flushed")
"""In which a disk is found full."""


def words(place: Place, run: Path, preset: str = "cpu", settings: dict[str, Any] | None = None) -> list[object]:
    """The command line of a tiny run."""
    chosen = TINY | (settings or {})
    given = [word for name, value in chosen.items() for word in ("--set", f"{name}={json.dumps(value).strip(chr(34))}")]
    words = ["train", "--preset", preset, "--data", place.pictures, "--out", run, "--steps", STEPS, "--size", 32]
    return [*words, *([] if "data.labels" in chosen else ["--domains", 2]), *given]


def straight(place: Place) -> tuple[Path, float]:
    """The run that nothing happened to, made once, and the seconds that it took."""
    run, note = place.folder / "straight", place.folder / "straight.json"
    known = read_json(note)
    if not known:
        done = ended(command(*words(place, place.fresh("straight"))))
        if done.code != 0:
            raise SystemExit(f"the run that nothing happens to ended with {done.code}: {done.said}")
        place.folder.joinpath("scratch", "straight").rename(run)
        known = {"seconds": done.seconds}
        write_text_atomic(note, json.dumps(known))
    return run, float(known["seconds"])


def killed(place: Place, random: np.random.Generator, number: int) -> Outcome:
    """A run killed at random moments until it has come to its end."""
    expected, seconds = straight(place)
    run, sessions, kills = place.fresh("killed"), list[Ended](), 0
    for attempt in range(MOST_TRIES):
        last = attempt == MOST_TRIES - 1
        process = Process(command(*words(place, run)))
        sessions.append(process.ended() if last else process.ended(kill_after=random.uniform(0, seconds)))
        if sessions[-1].code != -signal.SIGKILL:
            break
        kills += 1
    faults = sessions[-1].faults(0) or differences(run, expected)
    return Outcome(kind="killed", ended=sessions, faults=faults, counted=kills)


def resumed(place: Place, random: np.random.Generator, number: int) -> Outcome:
    """A run of one of the VARIANTS, stopped at two steps, and the same run not stopped."""
    preset, settings = VARIANTS[number % len(VARIANTS)]
    stops = sorted(random.choice(np.arange(1, STEPS), 2, replace=False).tolist())
    expected, run = place.fresh("whole"), place.fresh("stopped")
    sessions = [ended(command(*words(place, expected, preset, settings)))]
    faults = sessions[0].faults(0)
    for stop in stops:
        sessions.append(ended(_stopping(stop, command(*words(place, run, preset, settings)))))
        faults += sessions[-1].faults(128 + signal.SIGTERM)
    sessions.append(ended(command(*words(place, run, preset, settings))))
    faults += sessions[-1].faults(0) or differences(run, expected, log=False)
    return Outcome(kind=f"{preset} {settings} at {stops}", ended=sessions, faults=faults)


def raced(place: Place, random: np.random.Generator, number: int) -> Outcome:
    """Two trainings of one run, the second begun within the first one's time; then a third, alone."""
    expected, seconds = straight(place)
    run = place.fresh("raced")
    first = Process(command(*words(place, run)))
    time.sleep(random.uniform(0, seconds / 4) if number % 2 else random.uniform(0, 0.02))
    second = Process(command(*words(place, run)))
    sessions = [second.ended(), first.ended()]
    faults = [fault for each in sessions for fault in each.faults(0, 2)]
    refused = [each for each in sessions if each.code == 2]
    faults += [f"refused with: {each.said[-200:]}" for each in refused if "is being trained by" not in each.said]
    if len(refused) == 2:
        faults.append("both were refused")
    sessions.append(ended(command(*words(place, run))))
    faults += sessions[-1].faults(0) or differences(run, expected)
    return Outcome(kind=f"{len(refused)} refused", ended=sessions, faults=faults)


def disk_full(place: Place, random: np.random.Generator, number: int) -> Outcome | None:
    """The disk full at one write of a run, which is then begun again; None where the run has no such write."""
    expected, _ = straight(place)
    write, how = divmod(number, len(ASKED))
    run, told = place.fresh("full"), place.fresh("full.json")
    cache = place.fresh("cache-of-full")
    line = words(place, run, settings={"cache": os.fspath(cache), "report_every": STEPS // 2})
    failed = ended(_with_a_full_disk(write, ASKED[how], told, command(*line)))
    name = read_json(told).get("name")
    if name is None:
        return None
    faults = failed.faults(2)
    last = (failed.said.splitlines() or [""])[-1]
    if not any(part in last for part in (name, os.fspath(run), os.fspath(cache))) or "No space left" not in last:
        faults.append(f"does not tell that {name} has no room: {last}")
    faults += damaged(run)
    again = ended(command(*line))
    faults += again.faults(0) or differences(run, expected, log=False)
    return Outcome(kind=f"{name} {ASKED[how]}", ended=[failed, again], faults=faults)


def damaged(run: Path) -> list[str]:
    """Checkpoints that cannot be read, and temporary files that the failed write left."""
    faults = []
    for path in sorted((run / "checkpoints").glob("*.pt")) if run.is_dir() else ():
        try:
            torch.load(path, weights_only=True)
        except Exception as error:
            faults.append(f"{path.name} is damaged: {error}")
    left = [path.name for path in run.rglob(".*") if TEMPORARY.fullmatch(path.name)] if run.is_dir() else []
    return faults + [f"left {name}" for name in left]


def differences(run: Path, expected: Path, *, log: bool = True) -> list[str]:
    """In what a finished run is not the one that nothing happened to: weights, state, reports."""
    faults = []
    weights = [folder / "model" / "model.safetensors" for folder in (run, expected)]
    if not weights[0].is_file() or weights[0].read_bytes() != weights[1].read_bytes():
        faults.append("the model's weights differ")
    states = [Run(folder).latest_checkpoint() or {} for folder in (run, expected)]
    for state in states:
        state.pop("seconds", None)
        state.pop("first_domains", None)  # a stop in place of a report measures them later
    if not same(*states):
        faults.append("the state differs")
    steps = [[line["step"] for line in Run(folder).log()] for folder in (run, expected)]
    if log and steps[0] != steps[1]:
        faults.append(f"reports at {steps[0]} and not at {steps[1]}")
    return faults


def same(one: Any, other: Any) -> bool:
    """Whether nested values are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _stopping(stop: int, work: Callable[[], int]) -> Callable[[], int]:
    """The work, with a SIGTERM after step `stop`."""

    def stopped() -> int:
        step = Monitor.step

        def counted(self: Monitor, terms: Any, number: int, *more: Any) -> None:
            step(self, terms, number, *more)
            if number == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        Monitor.step = counted  # type: ignore[method-assign, assignment]
        return work()

    return stopped


def _with_a_full_disk(write: int, how: str, told: Path, work: Callable[[], int]) -> Callable[[], int]:
    """The work, with its write number `write` refused; the file's name is written to the file `told`.

    Writes are known by their end: every file is flushed to the disk, but for the log, which grows by lines.
    """

    def refused() -> int:
        count, flush, append = 0, os.fsync, Run.append_log

        def fails(name: str) -> bool:
            nonlocal count
            count += 1
            if count - 1 == write:
                told.write_text(json.dumps({"name": name}))
            return count - 1 == write

        def flushed(file: int) -> None:
            if stat.S_ISREG(os.fstat(file).st_mode) and fails(_name_of(file)):
                if how != "when flushed":
                    os.ftruncate(file, 0 if how == "at once" else os.fstat(file).st_size // 2)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(file)

        def appended(self: Run, line: Any) -> None:
            if fails(LOG):
                path = self.folder / LOG
                with naming(path), path.open("a") as file:
                    file.write("" if how == "at once" else json.dumps(line)[:20])
                    file.flush()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            append(self, line)

        os.fsync = flushed  # type: ignore[assignment]
        Run.append_log = appended  # type: ignore[method-assign]
        return work()

    return refused


def _name_of(file: int) -> str:
    """Of an open file, or of the one that a temporary file is to become."""
    name = Path(os.readlink(f"/proc/self/fd/{file}")).name
    return name.removeprefix(".").partition(".tunit-")[0]
