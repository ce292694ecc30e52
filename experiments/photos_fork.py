"""What a setting does to a run of photographs: the same run trained on, with settings changed.

    tunit train --data FOLDER --preset photos --domains 6 --steps 900 --out RUN
    python experiments/photos_fork.py RUN OUT --steps 300 --set training.adversarial_weight=4 --features NETWORK.ts

RUN is copied, and the copy trained for so many steps and evaluated. Compare it with a copy that changes nothing.
Weights of losses can be changed; rates and weight decays of D are the checkpoint's.
Figures are in OUT/metrics.json, and a line of them is printed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fork import parsed

from open_tunit import train
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.runs import Run, stored_config

FIGURES = (
    "frechet_distance", "mean_frechet_distance", "domain_reached", "diversity", "reconstruction_error", "cycle_error",
    "nearest_training_ratio",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--features", required=True, help="a network's file, as for tunit evaluate")
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    shutil.copytree(given.run, given.out)
    stored = stored_config(given.out)
    assert stored is not None
    steps = {"training.steps": stored.training.steps + given.steps, "out": str(given.out), "minutes": None}
    config = stored.replace(steps | parsed(given.set))
    Run(given.out).write_config(config)
    train(config)
    figures = evaluate_run(given.out, asked=Asked(features=given.features, pairs=given.pairs))
    print(json.dumps({"out": given.out.name, **told(figures, given.features)}), flush=True)


def told(figures: Mapping[str, Any], features: str) -> dict[str, float]:
    """FIGURES of metrics.json, those of a network's features under their plain names."""
    network = "_" + re.sub(r"\W+", "_", Path(features).stem)
    return {name: round(figures.get(name, figures.get(name + network, float("nan"))), 3) for name in FIGURES}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
