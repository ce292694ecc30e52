"""A run of several processes, ten times one of them killed: the weights of the run that nobody interrupted.

    python experiments/torchrun_kills.py [--kills 10 --steps 60 --processes 2 --seed 0 --out /tmp/torchrun-kills]

Trains a tiny run on 64 critters under torchrun on the CPU, once undisturbed. Then again: a random process gets
SIGKILL at a random step, torchrun begins the group again, and so on. Every process notes each step that it begins, with
its number, in a file, from which this script tells whom to kill and when. Prints a row of a table: kills, restarts and
bits of all weights that differ.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from open_tunit.data.critters import critter, draw

STEPS_FILE, RESTARTS = "TUNIT_STEPS_FILE", "TORCHELASTIC_RESTART_COUNT"
LOOK_SECONDS = 0.002
SEED, PICTURES, SIDE = 100, 64, 32
REPORT_EVERY, JOINT_START = 5, 15
SETTINGS = (
    f"report_every={REPORT_EVERY}", "precision=float32", f"training.joint_start={JOINT_START}", "training.pair_steps=6",
    "model.style_dim=8", "model.palette_dim=3",
    "model.guiding_width=8", "model.generator_width=8", "model.style_mlp_width=16", "model.projection_dim=8",
    "discriminator.width=8", "discriminator.max_width=16", "training.batch=4", "training.guiding_batch=8",
)  # fmt: skip
NETWORKS = ("E", "E_ema", "G", "G_ema", "D")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--out", type=Path, default=Path("/tmp/torchrun-kills"), help="a new folder")
    given = parser.parse_args()
    (given.out / "pictures").mkdir(parents=True)
    for number in range(PICTURES):
        Image.fromarray(draw(critter(SEED, number), SIDE)).save(given.out / "pictures" / f"{number:02d}.png")
    begun = time.perf_counter()
    ended(torchrun(given, "whole"))
    deaths = planned(given)
    process = torchrun(given, "killed")
    for restart, (rank, step) in enumerate(deaths):
        os.kill(process_at(steps_file(given, "killed"), restart, rank, step, process), signal.SIGKILL)
    ended(process)
    restarts = max(int(line[0]) for line in noted(steps_file(given, "killed")))
    bits, weights = different_bits(*(newest(given.out / name) for name in ("whole", "killed")))
    print("killed (process at step):", ", ".join(f"{rank} at {step}" for rank, step in deaths))
    print("| kills | restarts | weights | different bits | seconds |\n|---|---|---|---|---|")
    print(f"| {len(deaths)} | {restarts} | {weights:,} | {bits} | {time.perf_counter() - begun:.0f} |")


def planned(given: argparse.Namespace) -> list[tuple[int, int]]:
    """Process and step of each kill. No step is before the last one's: each start comes at least as far."""
    draws = random.Random(given.seed)
    steps = sorted(draws.randrange(1, given.steps - 1) for _ in range(given.kills))
    return [(draws.randrange(given.processes), step) for step in steps]


def torchrun(given: argparse.Namespace, name: str) -> subprocess.Popen[bytes]:
    begin = ["--standalone", "--nproc-per-node", str(given.processes), "--max-restarts", str(given.kills)]
    words = ["train", "--preset", "cpu", "--data", str(given.out / "pictures"), "--out", str(given.out / name)]
    words += ["--steps", str(given.steps), "--domains", "3", "--size", str(SIDE), "--device", "cpu"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    with open(given.out / f"{name}.txt", "wb") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *begin, __file__, *words],
            env=os.environ | {"OMP_NUM_THREADS": "1", STEPS_FILE: str(steps_file(given, name))},
            stdout=told,
            stderr=subprocess.STDOUT,
        )


def steps_file(given: argparse.Namespace, name: str) -> Path:
    return Path(given.out / f"{name}.steps")


def ended(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}; see the .txt files in --out")


def process_at(steps: Path, restart: int, rank: int, step: int, run: subprocess.Popen[bytes]) -> int:
    """The number of the process of this rank, as soon as it begins this step after so many restarts."""
    while True:
        for line in noted(steps):
            if line[:3] == [str(restart), str(rank), str(step)]:
                return int(line[3])
        if run.poll() is not None:
            raise SystemExit(f"it ended before step {step} after {restart} restarts; see the .txt files in --out")
        time.sleep(LOOK_SECONDS)


def noted(steps: Path) -> list[list[str]]:
    text = steps.read_text() if steps.exists() else ""
    return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]


def newest(run: Path) -> dict[str, Any]:
    return dict(torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True))


def different_bits(one: dict[str, Any], other: dict[str, Any]) -> tuple[int, int]:
    """Bits in which the networks of two checkpoints of the same step differ, and how many numbers these have."""
    assert one["step"] == other["step"]
    bits = count = 0
    for name in NETWORKS:
        assert one[name].keys() == other[name].keys()
        for key, value in one[name].items():
            pairs = zip(value.numpy().tobytes(), other[name][key].numpy().tobytes(), strict=True)
            bits += sum((a ^ b).bit_count() for a, b in pairs)
            count += value.numel()
    return bits, count


def one_of_the_processes(words: list[str], steps: str) -> int:
    """`tunit`, which notes each step that it begins: restarts, rank, step and the process's number."""
    from open_tunit.cli.main import main as tunit
    from open_tunit.training import loop

    take, restarts = loop._Session._one_step, os.environ[RESTARTS]

    def one_step(session: loop._Session) -> object:
        with open(steps, "a", encoding="utf-8") as file:
            file.write(f"{restarts} {session.group.rank} {session.state.step} {os.getpid()}\n")
        return take(session)

    vars(loop)["_Session"]._one_step = one_step
    return tunit(words)


if __name__ == "__main__":
    if RESTARTS in os.environ:
        sys.exit(one_of_the_processes(sys.argv[1:], os.environ[STEPS_FILE]))
    main()
