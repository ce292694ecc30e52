"""Seconds per training step of each phase: prints a table and writes benchmarks/results/train_step.json.

python benchmarks/train_step.py [--preset cpu --size 32 --device auto]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from open_tunit.config import Config
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.training.device import choose_device, describe, use_half
from open_tunit.training.schedule import Phase, batch_at, phase_at
from open_tunit.training.state import new_state
from open_tunit.training.step import Step

WARM, TIMED = 3, 10
RESULTS = Path(__file__).parent / "results" / "train_step.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--size", type=int)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    device = choose_device(arguments.device)
    half = use_half(config, device)
    rows = [measure(config, phase, device, half) for phase in phases(config)]
    result = {
        "preset": arguments.preset,
        "size": config.model.size,
        "machine": describe(device),
        "torch": torch.__version__,
        "bfloat16": half,
        "phases": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{result['machine']}, torch {torch.__version__}, {'bfloat16' if half else 'float32'}, {config.model.size} px"
    )
    for row in rows:
        speed = f"{row['median_seconds']:.3f} s {row['images_per_second']:.0f} img/s"
        print(f"{row['phase']:8} batch {row['batch']:3} {speed}")


def phases(config: Config) -> list[Phase]:
    training = config.replace({"training.joint_start": 1, "training.prototypes_start": 0.0}).training
    return [phase_at(step, training, "none") for step in (0, 1)]


def measure(config: Config, phase: Phase, device: torch.device, half: bool) -> dict[str, object]:
    """Median seconds of a step on random pictures."""
    count, size = batch_at(phase, config.training), config.model.size
    x, x_plus, x_domain = (torch.rand(count, 3, size, size, device=device) * 2 - 1 for _ in range(3))
    batch = Batch(
        x=x,
        x_plus=x_plus,
        x_domain=x_domain,
        x_content=x,
        translation_draws=views.draw(np.random.default_rng(0), count),
        labels=torch.full((count,), -1, device=device),
        permutation=torch.randperm(count, device=device),
    )
    state, step = new_state(config, device), Step(config, "none", half)
    seconds = []
    for _ in range(WARM + TIMED):
        begun = time.perf_counter()
        step(state, batch, phase)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    median = statistics.median(seconds[WARM:])
    return {
        "phase": phase.name,
        "batch": count,
        "median_seconds": median,
        "spread_seconds": [min(seconds[WARM:]), max(seconds[WARM:])],
        "images_per_second": count / median,
    }


if __name__ == "__main__":
    main()
