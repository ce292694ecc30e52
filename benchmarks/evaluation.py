"""Evaluation: FID's distance against torchmetrics, and the memory of an evaluation; writes benchmarks/results/.

python benchmarks/evaluation.py distance [--dimensions 2048 --rows 5000]
python benchmarks/evaluation.py memory --model RUN/model --data FOLDER [--counts 500 2000]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from open_tunit.metrics.distances import frechet_distance
from open_tunit.training.device import describe

RESULTS = Path(__file__).parent / "results"
FEW = 500
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("distance", "memory"))
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000])
    arguments = parser.parse_args()
    if arguments.what == "distance":
        rows: list[dict[str, object]] = [distances(count, arguments.dimensions) for count in (FEW, arguments.rows)]
    else:
        rows = [memory(arguments.model, arguments.data, count) for count in arguments.counts]
    result = {"machine": describe(torch.device("cpu")), "torch": torch.__version__, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"evaluation_{arguments.what}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
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


def memory(model: str, data: str, pairs: int) -> dict[str, object]:
    """Peak memory of a fresh process that evaluates `pairs` translations of as many images."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak = pool.apply(evaluated, (model, data, pairs))
    return {"translations": pairs, "cpu_seconds": seconds, "peak_mib": peak}


def evaluated(model: str, data: str, pairs: int) -> tuple[float, float]:
    from open_tunit import TUNIT, evaluate
    from open_tunit.evaluation.protocol import Asked

    begun = time.process_time()
    evaluate(TUNIT.from_pretrained(model), data, asked=Asked(part="all", pairs=pairs))
    return time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
