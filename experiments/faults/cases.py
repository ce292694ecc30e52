"""A case in a process of its own, forked from one that has imported everything; what it cost, and what went wrong."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from open_tunit.cli.main import main

PATIENCE_SECONDS, MOST_BYTES = 600.0, 10**9
"""After which a case hangs, and beyond which its memory is not bounded."""
UNFORESEEN = 70
"""Exit code of a traceback."""
PICTURES = 24
LOOK_SECONDS = 0.002


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended."""

    code: int
    """Its exit code; minus the signal's number where one killed it."""
    seconds: float
    peak_bytes: int
    said: str

    def faults(self, *codes: int) -> list[str]:
        """What is wrong with it, if it was to end with one of these codes, in a line or less on stderr."""
        wrong = []
        last = (self.said.strip().splitlines() or [""])[-1][:200]
        if self.seconds > PATIENCE_SECONDS:
            wrong.append("hangs")
        elif self.code not in codes:
            wrong.append(f"ended with {self.code}: {last}")
        if "Traceback" in self.said:
            wrong.append(f"traceback: {last}")
        if self.peak_bytes > MOST_BYTES:
            wrong.append(f"took {self.peak_bytes / 1e6:.0f} MB")
        return wrong


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """Of a case."""

    kind: str
    ended: list[Ended]
    faults: list[str]
    counted: int = 1
    """How many of what the part counts."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "counted": self.counted,
            "faults": self.faults,
            "seconds": round(sum(each.seconds for each in self.ended), 2),
            "peak_mb": round(max((each.peak_bytes for each in self.ended), default=0) / 1e6),
        }


class Process:
    """A forked process that does `work` and exits with the code that it gives."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._begun = time.monotonic()
        handle, name = tempfile.mkstemp()
        self._out = Path(name)
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(work, handle)
        os.close(handle)

    def _be(self, work: Callable[[], int], said: int) -> None:
        code = UNFORESEEN
        try:
            for number in (1, 2):
                os.dup2(said, number)
            torch.set_num_threads(1)
            code = work()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else UNFORESEEN
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def ended(self, *, kill_after: float = PATIENCE_SECONDS) -> Ended:
        """Wait for its end; kill it after so many seconds since it began."""
        killed = False
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            seconds = time.monotonic() - self._begun
            if pid:
                break
            if seconds > kill_after and not killed:
                os.kill(self.pid, signal.SIGKILL)
                killed = True
            time.sleep(LOOK_SECONDS)
        said = self._out.read_text(errors="replace")
        self._out.unlink()
        unit = 1 if sys.platform == "darwin" else 1024
        return Ended(
            code=os.waitstatus_to_exitcode(status), seconds=seconds, peak_bytes=usage.ru_maxrss * unit, said=said
        )


def command(*words: object) -> Callable[[], int]:
    """`tunit` with these words."""
    return lambda: main([str(word) for word in words])


def ended(work: Callable[[], int]) -> Ended:
    """The work done in a process of its own."""
    return Process(work).ended()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where cases are tried: pictures, a cache, and a folder for what comes and goes."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Self:
        """The place in `folder`, with its pictures drawn."""
        os.environ["XDG_CACHE_HOME"] = os.fspath(folder / "cache")
        place = cls(folder)
        if not place.pictures.is_dir():
            building = folder / "pictures.new"
            shutil.rmtree(building, ignore_errors=True)
            for kind in ("spots", "stripes"):
                (building / kind).mkdir(parents=True)
            for number in range(PICTURES):
                picture(np.random.default_rng(number)).save(
                    building / ("spots", "stripes")[number % 2] / f"{number:02d}.png"
                )
            building.rename(place.pictures)
        return place

    @property
    def pictures(self) -> Path:
        """Good ones, in two folders."""
        return self.folder / "pictures"

    def some_pictures(self) -> Sequence[Path]:
        """Their paths."""
        return sorted(self.pictures.rglob("*.png"))

    def fresh(self, name: str) -> Path:
        """A path in the place at which nothing is."""
        path = self.folder / "scratch" / name
        path.parent.mkdir(exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return path


def picture(random: np.random.Generator, width: int = 48, height: int = 40) -> Image.Image:
    """A smooth random picture."""
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)
