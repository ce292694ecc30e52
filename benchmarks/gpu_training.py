"""Training as a run does it, step by step and with CUDA graphs: batches, views, all networks; gpu_training.json.

python benchmarks/gpu_training.py [--preset cpu --size 64 --batch 16 --steps 60 --device auto]
Images per second of the joint phase on noise that lies on the GPU, bfloat16 but R1, R1 as often as the preset says,
the host waiting once, at the end; and the seconds that batches alone take. Rows of the same networks are replaced.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable

import machine
import numpy as np
import torch

from open_tunit.data.batches import Batches
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.graphs import WARM_UP, Steps
from open_tunit.training.steps.state import State, new_state
from open_tunit.training.steps.step import Step

IMAGES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    keep_freed_memory()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    config = config.replace(
        {
            "training.batch": arguments.batch or config.training.batch,
            "training.joint_start": 1,
            "training.pair_weight": 0.0,
        }
    )
    plan, half = Plan.of(config), "bfloat16" in machine.precisions(device)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, config.model.size, config.model.size, 3), np.uint8)
    labels, every = np.full(IMAGES, -1), np.arange(IMAGES)
    batches = Batches(pixels, labels, every, seed=0, view=plan.views, device=device)
    refused: list[str] = []
    row = {
        "preset": arguments.preset,
        "size": config.model.size,
        "batch": config.training.batch,
        "half": half,
        "r1_every": config.training.r1_every,
    }
    about = dict(row)
    size, steps = plan.training.batch, arguments.steps
    row["seconds_of_a_batch"] = seconds(lambda index: batches.batch(index, size), device, steps)
    for name, take in (("eager", None), ("graph", Steps.on(device, refused.append))):
        state = begun(plan, device)
        run = a_step(plan, half, state, batches, take)
        for index in range((WARM_UP + 1) * max(2, config.training.r1_every)):
            run(index)
        row[f"seconds_{name}"] = seconds(run, device, steps)
        row[f"images_per_second_{name}"] = config.training.batch / row[f"seconds_{name}"]
        row[f"finite_{name}"] = state.is_finite()
        del state, run
    row["refused"] = refused
    path = machine.results_path("gpu_training", device)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [old for old in rows if any(old[key] != value for key, value in about.items())] + [row]
    machine.write("gpu_training", device, {"rows": rows})
    print(row)


def begun(plan: Plan, device: torch.device) -> State:
    """A new state with full queues."""
    state = new_state(plan, device)
    generator = torch.Generator().manual_seed(1)
    for queue in (state.keys, state.logits):
        queue.push(torch.randn(queue.size, queue.rows.shape[1], generator=generator).to(device))
    return state


def a_step(plan: Plan, half: bool, state: State, batches: Batches, take: Steps | None) -> Callable[[int], object]:
    counted = itertools.count(plan.joint_start)

    def run(_: int) -> object:
        index = next(counted)
        phase, step = plan.phase(index), Step(plan, half)
        batch = batches.batch(index, plan.batch_size(phase))
        return step(state, batch, phase) if take is None else take(step, state, batch, phase)

    return run


def seconds(run: Callable[[int], object], device: torch.device, steps: int) -> float:
    """Of a call, of so many in a row."""
    machine.synchronise(device)
    begun = time.perf_counter()
    for index in range(steps):
        run(index)
    machine.synchronise(device)
    return (time.perf_counter() - begun) / steps


if __name__ == "__main__":
    main()
