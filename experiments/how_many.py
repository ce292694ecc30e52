"""How many images: the same training on few of them and on many, measured on images that no training saw.

    python experiments/how_many.py critters
    python experiments/how_many.py fruits --folder FRUITS --features NETWORK.ts

Critters: the preset `cpu`, about the steps that six minutes of two cores with AVX2 have. Fruits: `photos` on so many
pictures of FRUITS/train, measured on all of FRUITS/test by a network that is not the model's own. Critters too few for
pairs train G with D for the time that the pair phase would take. One folder per row; rows that are there are not run
again. The table is of all rows that exist.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from open_tunit import Config, train
from open_tunit.data import dataset
from open_tunit.data.scan import scan
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.rng import rng

GUIDING, PAIRS, JOINT = 370, 1920, 215
"""Steps of the critters' three phases."""
PAIRED, JOINT_COST = 300, 3
"""Critters from which runs find pairs, and a joint step's time in steps on pairs."""
PHOTOS_STEPS = 500
FIGURES = {
    "critters": {
        "labels": "pseudo_label_accuracy", "whole": "true_answer_error_ratio", "head": "true_answer_error_ratio_head",
        "species": "species_reached", "content": "content_kept", "nearest": "nearest_training_ratio",
    },
    "fruits": {
        "labels": "pseudo_label_accuracy", "Fréchet": "frechet_distance", "by domain": "mean_frechet_distance",
        "domain reached": "domain_reached", "fruit reached": "label_reached", "nearest": "nearest_training_ratio",
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(FIGURES))
    parser.add_argument("--images", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 4000])
    parser.add_argument("--folder", type=Path, help="of the fruits, with train and test")
    parser.add_argument("--features", help="a network's file, that measures the fruits")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/how_many"))
    given = parser.parse_args()
    for count in given.images:
        run = given.out / f"{given.what}-{count}-seed{given.seed}"
        if not (run / "metrics.json").exists():
            print(f"{count} {given.what}", flush=True)
            on_critters(count, given.seed, run) if given.what == "critters" else on_fruits(count, given, run)
    print("\n".join(table(given.what, given.out)))


def on_critters(count: int, seed: int, run: Path) -> None:
    dataset.CRITTERS_TRAIN = truth.CRITTERS_TRAIN = count
    pairs = PAIRS if count >= PAIRED else PAIRS // JOINT_COST
    steps = {"joint_start": GUIDING, "pair_steps": pairs, "steps": GUIDING + pairs + JOINT}
    overrides = {f"training.{name}": value for name, value in steps.items()}
    train(Config.preset("cpu", data="critters:5", out=str(run), seed=seed, overrides=overrides))
    evaluate_run(run)


def on_fruits(count: int, given: argparse.Namespace, run: Path) -> None:
    folder = given.out / f"pictures-{count}"
    if not folder.exists():
        some_of(given.folder, folder, count, given.seed)
    overrides = {"training.steps": PHOTOS_STEPS, "model.domains": 4}
    train(Config.preset("photos", data=str(folder), out=str(run), seed=given.seed, overrides=overrides))
    evaluate_run(run, labels="folders", asked=Asked(pairs=200, features=given.features))


def some_of(fruits: Path, folder: Path, count: int, seed: int) -> None:
    """Copy all test pictures, and training pictures drawn at random."""
    shutil.copytree(fruits / "test", folder / "test")
    files = scan(fruits / "train")
    for place in rng(seed).permutation(len(files))[:count]:
        target = folder / "train" / files[place]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fruits / "train" / files[place], target)


def table(what: str, out: Path) -> list[str]:
    columns = FIGURES[what]
    lines = [f"| images | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    found = {int(path.parent.name.split("-")[1]): path for path in out.glob(f"{what}-*/metrics.json")}
    for count, path in sorted(found.items()):
        figures = json.loads(path.read_text(encoding="utf-8"))
        lines.append(f"| {count:,} | {' | '.join(shown(figures, name) for name in columns.values())} |")
    return lines


def shown(figures: dict[str, Any], name: str) -> str:
    """A figure, whichever network measured it."""
    full = next((key for key in figures if key == name or (key.startswith(f"{name}_") and "_source_" not in key)), None)
    return "" if full is None else f"{figures[full]:.3g}"


if __name__ == "__main__":
    main()
