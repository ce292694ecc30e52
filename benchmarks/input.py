"""Images per second into training: decoding JPEGs, and cached batches with their views; input.json.

python benchmarks/input.py [--size 128 --batch 32 --device auto]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import machine
import numpy as np
import torch
from PIL import Image

from open_tunit.data.batches import Batches
from open_tunit.data.cache import build_store
from open_tunit.data.views import Views
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.media import images
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan

PICTURES, SHAPE = 64, (1024, 768)
ROUNDS = 7
VIEWS = {name: Plan.of(Config.preset(name, data="photos", out="unused")).views for name in ("paper", "cpu")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    keep_freed_memory()
    with photographs() as folder:
        decoded = decoding(folder, arguments.size, device)
    cached = {name: batches(view, arguments.size, arguments.batch, device) for name, view in VIEWS.items()}
    result = {"size": arguments.size, "images_per_second": {**decoded, **cached}}
    machine.write("input", device, result)
    for name, rate in result["images_per_second"].items():
        print(f"{name:24} {rate:8.0f} images/s")


@contextmanager
def photographs() -> Iterator[Path]:
    """JPEGs with as much detail as a photograph: noise, enlarged eight times."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PICTURES):
            small = np.random.default_rng(number).integers(0, 256, (SHAPE[1] // 8, SHAPE[0] // 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize(SHAPE, Image.Resampling.BICUBIC).save(Path(folder) / f"{number}.jpg")
        yield Path(folder)


def decoding(folder: Path, size: int, device: torch.device) -> dict[str, float]:
    files = sorted(folder.iterdir())

    def one_by_one(at_least: int | None) -> None:
        for file in files:
            images.fit(images.read_image(file, at_least=at_least), size, "crop")

    def store() -> None:
        with tempfile.TemporaryDirectory() as cache:
            build_store(folder, size, "crop", "#ffffff", cache)

    ways = {
        "decoded whole": lambda: one_by_one(None),
        "decoded reduced": lambda: one_by_one(size),
        "cache built": store,
    }
    seconds = machine.by_turns(ways, device, ROUNDS)
    return {name: PICTURES / statistics.median(times) for name, times in seconds.items()}


def batches(view: Views, size: int, batch: int, device: torch.device) -> float:
    pixels = np.random.default_rng(0).integers(0, 256, (1024, size, size, 3), dtype=np.uint8)
    made = Batches(pixels, np.full(1024, -1), np.arange(1024), seed=0, view=view, device=device)
    number = itertools.count()
    seconds = machine.by_turns({"batch": lambda: made.batch(next(number), batch)}, device, 2 * ROUNDS)
    return batch / statistics.median(seconds["batch"])


if __name__ == "__main__":
    main()
