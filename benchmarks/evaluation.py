"""Evaluation: FID's distance against torchmetrics, and the memory of `tunit evaluate`; writes benchmarks/results/.

python benchmarks/evaluation.py distance [--dimensions 2048 --rows 5000]
python benchmarks/evaluation.py memory [--counts 125 500 2000]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from open_tunit.metrics.distances import frechet_distance

FEW = 500
REPEATS = 3
SIZE, DOMAINS, TRAINING_PICTURES = 64, 5, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("distance", "memory"))
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--counts", type=int, nargs="+", default=[125, 500, 2000])
    arguments = parser.parse_args()
    if arguments.what == "distance":
        rows: list[dict[str, object]] = [distances(count, arguments.dimensions) for count in (FEW, arguments.rows)]
    else:
        rows = [memory(count) for count in arguments.counts]
    machine.write(f"evaluation_{arguments.what}", torch.device("cpu"), {"rows": rows})
    for row in rows:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


class AsTheyAre(nn.Module):
    """A feature network whose images are features already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, x: Tensor) -> Tensor:
        return x


def distances(rows: int, dimensions: int) -> dict[str, object]:
    """Seconds of both on the same random features, from features to number; CPU seconds, for shared machines."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(dimensions, dimensions, generator=generator) / dimensions**0.5
    real, fake = (torch.randn(rows, dimensions, generator=generator) @ mix + shift for shift in (0.0, 0.1))
    oracle = FrechetInceptionDistance(feature=AsTheyAre(dimensions)).set_dtype(torch.float64)

    def theirs() -> float:
        oracle.reset()
        oracle.update(real, real=True)
        oracle.update(fake, real=False)
        return float(oracle.compute())

    ours, our_seconds = timed(lambda: frechet_distance(real, fake))
    reference, their_seconds = timed(theirs)
    return {
        "rows": rows,
        "dimensions": dimensions,
        "seconds": our_seconds,
        "torchmetrics_seconds": their_seconds,
        "times_as_fast": their_seconds / our_seconds,
        "relative_difference": abs(ours - reference) / reference,
    }


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """The value, and the least of REPEATS times: the first call also loads what the library needs."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        value = function()
        seconds.append(time.process_time() - begun)
    return value, min(seconds)


def memory(pictures: int) -> dict[str, object]:
    """Peak memory of a fresh process that evaluates as many translations as there are held-out pictures."""
    with tempfile.TemporaryDirectory() as folder:
        return {"translations": pictures, "peak_mib": machine.peak_mib(evaluate_noise, Path(folder), pictures)}


def evaluate_noise(folder: Path, pictures: int) -> None:
    """All that `tunit evaluate` does, on an untrained model of the cpu preset."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    from open_tunit import TUNIT, Config
    from open_tunit.evaluation.protocol import Asked
    from open_tunit.evaluation.run import evaluate_run

    save_noise(folder / "data", pictures)
    config = Config.preset("cpu", data=str(folder / "data"), out=str(folder / "run"), size=SIZE, domains=DOMAINS)
    torch.manual_seed(0)
    TUNIT(config.model).save_pretrained(folder / "model")
    evaluate_run(folder / "model", data=str(folder / "data"), asked=Asked(pairs=pictures))


def save_noise(folder: Path, pictures: int) -> None:
    """Pictures of coarse noise: as many in FOLDER/test, TRAINING_PICTURES in FOLDER/train."""
    generator = np.random.default_rng(0)
    for part, count in (("train", TRAINING_PICTURES), ("test", pictures)):
        (folder / part).mkdir(parents=True)
        for index in range(count):
            noise = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            noise.resize((SIZE, SIZE)).save(folder / part / f"{index:04d}.png")


if __name__ == "__main__":
    main()
