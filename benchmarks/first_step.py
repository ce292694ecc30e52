"""Seconds from the start of a process to the end of its first training step: first_step.json.

python benchmarks/first_step.py [--rounds 3]
All that `tunit train` does before is counted: starting Python, importing, drawing the critters, building the networks.
A process for each measurement, and an empty cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import torch

TARGET = 30.0
CASES = {
    "cpu": ("--preset", "cpu"),
    "default": ("--preset", "default"),
    "paper at 64 px": ("--preset", "paper", "--size", "64", "--set", "training.batch=8"),
}
STEPPED = "first step at"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        until_the_first_step(arguments.child)
    rows = {}
    for name, words in CASES.items():
        seconds = [measured(words) for _ in range(arguments.rounds)]
        rows[name] = {"seconds": statistics.median(seconds), "least_most": [min(seconds), max(seconds)]}
        print(f"{name:16} {rows[name]['seconds']:.1f} s, target {TARGET:.0f}")
    machine.write("first_step", torch.device("cpu"), {"target": TARGET, "rows": rows})


def measured(words: tuple[str, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        train = ["train", "--data", "critters:5", "--out", str(Path(folder) / "run"), "--device", "cpu", *words]
        begun = time.time()
        done = subprocess.run(
            [sys.executable, __file__, "--child", *train],
            env=os.environ | {"XDG_CACHE_HOME": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(STEPPED))
    return float(line.removeprefix(STEPPED)) - begun


def until_the_first_step(words: list[str]) -> None:
    """`tunit` with these words, ended by its first step."""
    from open_tunit.cli.main import main as tunit
    from open_tunit.training.session.monitor import Monitor

    def first(*_: object) -> None:
        print(STEPPED, time.time(), flush=True)
        os._exit(0)

    Monitor.step = first  # type: ignore[method-assign, assignment]
    tunit(words)


if __name__ == "__main__":
    main()
