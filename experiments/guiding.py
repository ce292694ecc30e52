"""Does E find the species in its own phase, and is the background linear in its style code?

    python experiments/guiding.py --species 3 5 8 5:60/20/10/5/5 --seeds 0 1 2 3 4
    python experiments/guiding.py --species 5 --objective mutual_information
    python experiments/guiding.py --species 5 --seeds 100 --steps 620 --set training.guiding_batch=32

A cell trains E alone with the `cpu` preset and measures, on held-out critters: the domain head's accuracy, before and
after kNN label propagation; that of k-means on the same shape codes; how often the nearest neighbours' species is right
(what a clustering could reach); and how much of the background's colour a linear map reads off the style code and off
what its palette reads (R squared). One JSON per cell; cells that exist are not run again. Seeds 100 and above are for
development.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fork import parsed
from sklearn.linear_model import Ridge
from torch import Tensor

from open_tunit import Config, train
from open_tunit.data import critters
from open_tunit.data.dataset import open_dataset, parse_critters
from open_tunit.media import images
from open_tunit.metrics.agreement import matched_accuracy
from open_tunit.model import TUNIT
from open_tunit.settings.config import Data
from open_tunit.settings.recipes import OURS
from open_tunit.training.fitting.clustering import kmeans

NEIGHBOURS = 10
FIGURES = (
    "accuracy",
    "accuracy_before_propagation",
    "kmeans",
    "neighbours",
    "background_in_style",
    "background_in_palette_input",
    "seconds",
)

OBJECTIVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "balanced_prototypes": ({}, {}),
    "mutual_information": ({"training.prototypes_start": 0.0}, {"domain_objective": "mutual_information"}),
}
"""The preset's own, and the published one from the first step on, beside the preset's contrasts: settings, recipe."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", nargs="+", default=["3", "5", "8", "5:60/20/10/5/5"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=1750)
    parser.add_argument("--objective", default="balanced_prototypes", choices=list(OBJECTIVES))
    parser.add_argument("--set", nargs="*", default=[], help="settings that differ from the preset's")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/guiding"))
    arguments = parser.parse_args()
    settings, changes = OBJECTIVES[arguments.objective]
    objective = settings | parsed(arguments.set), changes
    changed = "".join(f"_{word}" for word in arguments.set)
    for species in arguments.species:
        for seed in arguments.seeds:
            name = f"critters_{species.replace(':', '_').replace('/', '-')}"
            folder = arguments.out / f"{name}_{arguments.objective}_{arguments.steps}{changed}_seed{seed}"
            if not (folder / "cell.json").exists():
                print(f"critters:{species}, seed {seed}", flush=True)
                figures = cell(f"critters:{species}", seed, arguments.steps, objective, folder)
                (folder / "cell.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(arguments.out)))


def cell(
    data: str, seed: int, steps: int, objective: tuple[dict[str, Any], dict[str, Any]], folder: Path
) -> dict[str, Any]:
    settings, changes = objective
    alone, recipe = (
        {"training.joint_start": steps, "training.pair_steps": 0, **settings},
        dataclasses.replace(OURS, **changes),
    )
    before, model = (  # the second goes on by one joint step, before which labels are propagated
        train(
            Config.preset("cpu", data=data, out=str(folder), seed=seed, report_every=more, steps=more, overrides=alone),
            recipe=recipe,
        )
        for more in (steps, steps + 1)
    )
    dataset = open_dataset(Data(folder=data), size=model.config.size, seed=seed)
    held_out = dataset.indices("test")
    count, shares = parse_critters(data)
    drawn = [critters.critter(seed, int(index), species=count, shares=shares) for index in held_out]
    species = np.array([critter.species for critter in drawn])
    pixels = np.ascontiguousarray(dataset.images[held_out])
    x = images.from_uint8(torch.from_numpy(pixels))
    guidance, colours = seen(model, x)
    codes = F.normalize(guidance.shape - guidance.shape.mean(dim=0), dim=1)
    centres = kmeans(codes, count, np.random.default_rng(0))
    background = pixels[:, :3].reshape(len(pixels), -1, 3).mean(axis=1) / 255.0
    return {
        "accuracy": matched_accuracy(guidance.logits.argmax(dim=1).numpy(), species),
        "accuracy_before_propagation": matched_accuracy(before.domains(x).argmax(dim=1).numpy(), species),
        "kmeans": matched_accuracy((codes @ centres.T).argmax(dim=1).numpy(), species),
        "neighbours": neighbours(codes, species),
        "background_in_style": explained(guidance.style, background),
        "background_in_palette_input": explained(colours, background),
        "seconds": model.about["seconds"],
        "domain_counts": model.domain_counts.tolist(),
    }


@torch.no_grad()
def seen(model: TUNIT, x: Tensor) -> tuple[Any, Tensor]:
    """E's guidance of the images, and the colours that its palette reads."""
    features, colours = model.E.features(x)
    return model.E.read(features, colours), colours


def neighbours(codes: Tensor, species: np.ndarray) -> float:
    nearest = (codes @ codes.T).fill_diagonal_(-2).topk(NEIGHBOURS, dim=1).indices.numpy()
    return float(
        np.mean([np.bincount(species[row]).argmax() == own for row, own in zip(nearest, species, strict=True)])
    )


def explained(features: Tensor, target: np.ndarray) -> float:
    """R squared of ridge regression on the second half of the images, fitted on the first."""
    x = features.numpy()
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    half = len(x) // 2
    return float(Ridge(1.0).fit(x[:half], target[:half]).score(x[half:], target[half:]))


def table(out: Path) -> list[str]:
    lines = [f"| cell | {' | '.join(name.replace('_', ' ') for name in FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    for path in sorted(out.glob("*/cell.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        lines.append(f"| {path.parent.name} | {' | '.join(f'{figures[name]:.3f}' for name in FIGURES)} |")
    return lines


if __name__ == "__main__":
    main()
