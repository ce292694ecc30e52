"""Variants of what comes after E's own phase, all from one saved state: one thing changes at a time.

    python experiments/fork.py prepare BASE --seed 100 --guiding 343
    python experiments/fork.py go BASE OUT --pairs 1023 --joint 128 --set training.learning_rate=0.001

`prepare` trains E alone; `go` copies that run, changes settings (`--set`) or fields of the recipe (`--recipe`), trains
G for so many steps and evaluates. Figures are in OUT/metrics.json, and a line of them is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from open_tunit import Config, train
from open_tunit.evaluation.run import evaluate_run
from open_tunit.runs import Run, stored_config
from open_tunit.settings.recipes import RECIPES
from open_tunit.training.steps.state import ADVERSARIAL_BETA_2

FIGURES = {
    "labels": "pseudo_label_accuracy", "whole": "true_answer_error_ratio", "head": "true_answer_error_ratio_head",
    "species": "species_reached", "content": "content_kept", "pattern": "pattern_taken",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("base", type=Path)
    first.add_argument("--data", default="critters:5")
    first.add_argument("--preset", default="cpu")
    first.add_argument("--seed", type=int, default=100)
    first.add_argument("--guiding", type=int, default=343)
    then = commands.add_parser("go")
    then.add_argument("base", type=Path)
    then.add_argument("out", type=Path)
    then.add_argument("--pairs", type=int, default=1023)
    then.add_argument("--joint", type=int, default=128)
    then.add_argument("--set", nargs="*", default=[])
    then.add_argument("--recipe", nargs="*", default=[])
    arguments = parser.parse_args()
    prepare(arguments) if arguments.command == "prepare" else go(arguments)


def prepare(arguments: argparse.Namespace) -> None:
    """Train E alone."""
    steps = {"training.joint_start": arguments.guiding, "training.pair_steps": 1, "training.steps": arguments.guiding}
    overrides = steps | {"report_every": 1000}
    train(
        Config.preset(
            arguments.preset, data=arguments.data, out=str(arguments.base), seed=arguments.seed, overrides=overrides
        )
    )


def go(arguments: argparse.Namespace) -> None:
    """Train G from there, and evaluate."""
    shutil.copytree(arguments.base, arguments.out)
    stored = stored_config(arguments.out)
    assert stored is not None
    guiding = stored.training.joint_start
    assert guiding is not None
    counted = {
        "training.pair_steps": arguments.pairs,
        "training.steps": guiding + arguments.pairs + arguments.joint,
        "out": str(arguments.out),
    }
    config = stored.replace(counted | parsed(arguments.set))
    recipe = dataclasses.replace(RECIPES[config.recipe], **parsed(arguments.recipe))
    run = Run(arguments.out)
    run.write_config(config)
    checkpoint = run.latest_checkpoint()
    assert checkpoint is not None
    checkpoint["recipe"] = dataclasses.asdict(recipe)
    for optimiser in ("opt_G", "opt_D"):  # a checkpoint keeps its betas
        for group in checkpoint[optimiser]["param_groups"]:
            group["betas"] = recipe.adversarial_beta, ADVERSARIAL_BETA_2
    run.save_checkpoint(checkpoint, guiding, good_step=guiding)
    began = time.process_time()
    train(config, recipe=recipe)
    seconds = time.process_time() - began
    figures = evaluate_run(arguments.out)
    told = {name: round(figures[key], 3) for name, key in FIGURES.items()}
    print(json.dumps({"out": arguments.out.name, **told, "cpu_seconds": round(seconds)}), flush=True)


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE, the value as YAML."""
    return {name: yaml.safe_load(value) for name, _, value in (word.partition("=") for word in words)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
