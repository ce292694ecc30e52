"""What training by several processes costs on one machine: scale.json.

python benchmarks/scale.py [--preset cpu --size 32 --batch 8 --steps 8 --rounds 5]
Joint steps, one thread a process, by turns: one process; one that torchrun started; two that train together with as
many images each; two that know nothing of each other, which shows what cores and memory cost. And of the two together:
how long they wait in exchanges, how much they exchange, and how large the gradients are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
import torch.distributed as dist

from open_tunit.data.batches import Batches
from open_tunit.data.pairs import PairTable
from open_tunit.rng import rng
from open_tunit.settings.config import Config
from open_tunit.training.distributed.group import processes
from open_tunit.training.plan import Plan
from open_tunit.training.steps.methods import batch_of, make_step
from open_tunit.training.steps.state import new_state

WARM_STEPS, IMAGES = 3, 256
EXCHANGES = ("all_reduce", "all_gather")
"""Of torch.distributed, whose time and bytes are counted where the step calls them."""
ALONE, LAUNCHED, TOGETHER, APART = "one process", "one under torchrun", "two together", "two apart"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=8, help="images of each process")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    words = [__file__, "--child", *sys.argv[1:]]
    plain, launched = [sys.executable], [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (ALONE, LAUNCHED, TOGETHER, APART)}
    for _ in range(arguments.rounds):
        found[ALONE] += at_once([[*plain, *words]])
        found[LAUNCHED] += at_once([[*launched, "--nproc-per-node", "1", *words]])
        found[TOGETHER] += at_once([[*launched, "--nproc-per-node", "2", *words]])
        found[APART] += [slowest(at_once([[*plain, *words]] * 2))]
    seconds = {name: [row["seconds"] for row in rows] for name, rows in found.items()}
    together = found[TOGETHER]
    result = {
        "preset": arguments.preset,
        "images_per_process": arguments.batch,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "torchrun_costs": machine.ratio(seconds[LAUNCHED], seconds[ALONE]),
        "efficiency_of_two": machine.ratio(seconds[ALONE], seconds[TOGETHER]),
        "efficiency_of_two_apart": machine.ratio(seconds[ALONE], seconds[APART]),
        "share_of_the_step_in_exchanges": statistics.median(row["exchanging"] / row["seconds"] for row in together),
        "megabytes_exchanged_a_step": together[0]["bytes"] / 1e6,
        "megabytes_of_gradients_a_step": together[0]["gradient_bytes"] / 1e6,
    }
    machine.write("scale", torch.device("cpu"), result)
    for name, value in result.items():
        print(name, value)


def at_once(commands: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """What processes that are started together print, one thread each."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    begun = [subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) for words in commands]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in begun]


def slowest(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda row: float(row["seconds"]))


def child(arguments: argparse.Namespace) -> None:
    """Take the steps, as a process of the group that torchrun started, if it did; process 0 prints what it measured."""
    exchanged = count_exchanges()
    with processes() as group:
        config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
        plan = Plan.of(config.replace({"training.batch": arguments.batch * group.size, "training.steps": 2000}))
        side, cpu = plan.config.model.size, torch.device("cpu")
        pixels = rng(0).integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
        positions, labels = np.arange(IMAGES), np.full(IMAGES, -1)
        batches = Batches(pixels, labels, positions, seed=0, view=plan.views, device=cpu, rows=group.rows)
        batches.pairs = PairTable.random(positions, plan.config.model.domains) if plan.pairs else None
        state, take, first = new_state(plan, cpu), make_step(plan, False, group), plan.adversarial_start
        for number in range(WARM_STEPS + arguments.steps):
            if number == WARM_STEPS:
                begun, exchanged[:] = time.perf_counter(), [0.0, 0.0]
            phase = plan.phase(first + number)
            take(state, batch_of(batches, phase, first + number, plan.batch_size(phase)), phase)
        seconds = (time.perf_counter() - begun) / arguments.steps
        exchanging, sent = (value / arguments.steps for value in exchanged)
        gradients = sum(p.nbytes for network in (state.E, state.G, state.D) for p in network.parameters())
        if group.leads:
            row = {"seconds": seconds, "exchanging": exchanging, "bytes": sent, "gradient_bytes": gradients}
            print(json.dumps(row), flush=True)


def count_exchanges() -> list[float]:
    """Seconds and bytes of exchanges from now on; those that run beside the computation count where they are begun."""
    counted = [0.0, 0.0]

    def counting(exchange: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            done = exchange(*values, **options)
            if done is not None:
                done.wait()
            counted[0] += time.perf_counter() - begun
            counted[1] += sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
            return done

        return call

    for name in EXCHANGES:
        setattr(dist, name, counting(getattr(dist, name)))
    return counted


if __name__ == "__main__":
    main()
