"""What each departure of the `cpu` preset is worth: the demo at fixed steps, with one of them taken back at a time.

    python experiments/ablation.py --seeds 100

One folder and one JSON per variant and seed; cells that are there are not run again. Seeds 100 and above: these are
choices, not results. The table at the end is of all cells that exist.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from open_tunit import Config, train
from open_tunit.data import dataset
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.run import evaluate_run
from open_tunit.settings.recipes import RECIPES

VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "preset": ({}, {}),
    "no palette": ({"model.palette_dim": 0, "model.style_dim": 64}, {}),
    "images mirrored at random": ({"data.views.flip": True}, {}),
    "R1 at every step": ({"training.r1_every": 1}, {}),
    "AdaIN starts as published": ({}, {"plain_start": False}),
    "content in its own colours": ({}, {"content_colour": False}),
    "no domain loss on translations": ({"training.translation_domain_weight": 0.0}, {}),
    "domain loss at a half": ({"training.translation_domain_weight": 0.5}, {}),
    "style contrast on translations at a half": ({"training.translation_style_weight": 0.5}, {}),
    "E not frozen": ({}, {"freeze_domains": False}),
    "Adam": ({"training.optimizer": "adam"}, {}),
    "separate training": ({"training.schedule": "separate"}, {}),
    "no mismatched fakes": ({}, {"mismatched_fakes": False}),
    "no pairs": ({}, {"pairs": False}),
    "R1 doubled": ({"training.r1_weight": 2.0}, {}),
    "adversarial weight one": ({"training.adversarial_weight": 1.0}, {}),
    "content at 8 x 8 cells": ({"model.generator_bottleneck": 8}, {}),
}
"""Settings that differ from the preset's, and fields that differ from its recipe's."""
FIGURES = (
    "pseudo_label_accuracy", "true_answer_error_ratio", "true_answer_error_ratio_head", "species_reached",
    "content_kept", "training_seconds",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="critters:5")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--guiding", type=int, default=1000, help="steps of E alone")
    parser.add_argument("--pairs", type=int, default=500, help="steps of G on pairs, without D; joint without pairs")
    parser.add_argument("--joint", type=int, default=500, help="steps of the joint phase")
    parser.add_argument("--images", type=int, help="train on so many critters, not on all")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/ablation"))
    arguments = parser.parse_args()
    if arguments.images is not None:
        dataset.CRITTERS_TRAIN = truth.CRITTERS_TRAIN = arguments.images
    for seed in arguments.seeds:
        for name in arguments.variants:
            length = f"{arguments.guiding}+{arguments.pairs}+{arguments.joint}"
            part = "" if arguments.images is None else f"_{arguments.images}_images"
            folder = arguments.out / f"{name.replace(' ', '_')}_{length}{part}_seed{seed}"
            if not (folder / "metrics.json").exists():
                print(f"{name}, seed {seed}", flush=True)
                run(arguments, VARIANTS[name], seed, folder)
    print("\n".join(table(arguments.out)))


def run(arguments: argparse.Namespace, variant: tuple[dict[str, Any], dict[str, Any]], seed: int, folder: Path) -> None:
    overrides, changes = variant
    steps = {
        "training.joint_start": arguments.guiding,
        "training.pair_steps": arguments.pairs,
        "training.steps": arguments.guiding + arguments.pairs + arguments.joint,
    }
    config = Config.preset(
        "cpu", data=arguments.data, out=str(folder), seed=seed, report_every=250, overrides=steps | overrides
    )
    train(config, recipe=dataclasses.replace(RECIPES[config.recipe], **changes))
    evaluate_run(folder)


def table(out: Path) -> list[str]:
    lines = [f"| variant | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    for path in sorted(out.glob("*/metrics.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        lines.append(f"| {path.parent.name} | {' | '.join(f'{figures[name]:.3f}' for name in FIGURES)} |")
    return lines


if __name__ == "__main__":
    main()
