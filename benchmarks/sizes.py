"""Our training step at many sizes and batches, each in a fresh process: sizes.json.

python benchmarks/sizes.py [paper/64/8/bfloat16 ...] [--device auto --steps 3]
A cell is preset/size/batch/precision; in bfloat16 R1 is float32. The fastest step counts, as others may use the
machine too. Cells not named keep the results they have, and with
none named all are measured, which takes a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json

import machine
import torch
from train_step import ours, pictures

from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.state import new_state

CELLS = [
    *(f"paper/{size}/{batch}/bfloat16" for size in (32, 64, 128) for batch in (4, 8, 16)),
    "paper/64/8/float32",
    *(f"cpu/{size}/16/bfloat16" for size in (32, 64)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=CELLS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    path = machine.results_path("sizes", device)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}
    for cell in arguments.cells:
        seconds, peak = machine.in_fresh_process(measured, cell, device, arguments.steps)
        batch = int(cell.split("/")[2])
        least = 1000 * min(seconds) / batch
        rows[cell] = {"seconds_per_1000_images": least, "peak_mib": peak, "commit": machine.commit()}
        machine.write("sizes", device, {"rows": rows})
        print(f"{cell:24} {least:8.1f} s per 1,000 images  {peak / 1024:5.2f} GiB")


def measured(cell: str, device: torch.device, steps: int) -> list[float]:
    """Seconds of each step, after one that warms up; R1 as often as the preset has it."""
    preset, size, batch, precision = cell.split("/")
    config = Config.preset(preset, data="critters:5", out="unused", size=int(size))
    config = config.replace({"training.batch": int(batch)})
    keep_freed_memory()
    every = config.training.r1_every
    run = ours(
        config, new_state(Plan.of(config), device), pictures(config, device), half=precision == "bfloat16", every=every
    )
    return [seconds / every for seconds in machine.by_turns({"step": run}, device, steps)["step"]]


if __name__ == "__main__":
    main()
