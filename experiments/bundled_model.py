"""The model that comes with the package: trained, measured, halved and written to src/open_tunit/bundled/critters.

    python experiments/bundled_model.py --size 32 --minutes 6

Stopped, the same line goes on; when the run is finished it only measures and writes. Half precision is compared with
the full one on critters of a seed that was not trained on, and refused above LARGEST_DIFFERENCE. Without patches, which
cost content in runs of this length, and with the palette's rate that the model that comes along was trained with
(docs/log.md).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from open_tunit import TUNIT, Config, train
from open_tunit.card import Publication, published_card
from open_tunit.data.critters import SPECIES, critter, draw
from open_tunit.evaluation.run import evaluate_run
from open_tunit.media import images
from open_tunit.metrics.agreement import contingency
from open_tunit.model_files import places
from open_tunit.model_files.naming import Naming

TARGET = Path(places.__file__).parents[1] / "bundled" / places.BUNDLED
OTHER_SEED = 1
"""Of the critters that names, comparison and examples are taken from; the run's is 0."""
COMPARED, EXAMPLES_PER_SPECIES = 500, 2
LARGEST_DIFFERENCE = 4
"""Levels of 255, of any pixel of any translation."""
MOST_BYTES = 6_000_000
CAPTION = "Top row: references. Left column: sources. After the gap: each source in the domains' mean styles."
INTENDED_USE = (
    "Trying open-tunit out, and its tests. It knows five kinds of cartoon heads and nothing else; "
    "photographs become blurs."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--run", type=Path, default=Path("runs/bundled"))
    arguments = parser.parse_args()
    train(
        Config.preset(
            "cpu",
            data="critters:5",
            out=str(arguments.run),
            size=arguments.size,
            minutes=arguments.minutes,
            seed=0,
            overrides={
                "training.patch_weight": 0.0,
                "training.joint_guiding_learning_rate": 3e-4,
                "training.joint_guiding_full_steps": None,
            },
        )
    )
    figures = evaluate_run(arguments.run)
    print("\n".join(f"{name}: {value}" for name, value in bundle(arguments.run, figures, TARGET).items()))


def bundle(run: Path, figures: dict[str, Any], target: Path) -> dict[str, Any]:
    """Write the model of a measured `run` to `target`, which is replaced; returns what was found on the way."""
    config = Config.from_yaml((run / "config.yaml").read_text(encoding="utf-8"))
    model = TUNIT.from_pretrained(run / "model")
    kinds, x = others(config)
    model.name_domains(names(model.domains(x).argmax(dim=1).numpy(), kinds, model.config.domains))
    newest = sorted((run / "samples").glob("[0-9]*.png"))[-1]
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "model"
        model.save_pretrained(staged, half=True)
        found = difference(model, TUNIT.from_pretrained(staged), x)
        model.about["half_precision"] = found
        card = Publication(
            name=places.BUNDLED,
            license="apache-2.0",
            intended_use=INTENDED_USE,
            metrics=figures,
            picture="samples.png",
            caption=CAPTION,
        )
        text = published_card(model.config, model.about, card, run=config)
        model.save_pretrained(staged, card=f"{text}\n{storage(found)}", examples=examples(config), half=True)
        shutil.copy(newest, staged / "samples.png")
        size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
        if found["largest_difference"] > LARGEST_DIFFERENCE or size > MOST_BYTES:
            raise ValueError(f"{size} bytes, {found}; expected at most {MOST_BYTES} and {LARGEST_DIFFERENCE}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(staged, target)
    return {"bytes": size, "names": model.naming.names, **found}


def others(config: Config) -> tuple[np.ndarray, Any]:
    """Species (N,) and pictures (N, 3, S, S) of critters that were not trained on."""
    drawn = [critter(OTHER_SEED, index, species=config.model.domains) for index in range(COMPARED)]
    pixels = np.stack([draw(one, config.model.size) for one in drawn])
    return np.array([one.species for one in drawn]), images.from_uint8(pixels)


def names(found: np.ndarray, kinds: np.ndarray, count: int) -> Naming:
    """Each domain called by the species it matches best, one to one, where most of it is that species."""
    table = contingency(found, kinds)
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    sure = {SPECIES[k]: int(d) for d, k in pairs if d < count and 2 * table[d, k] > table[d].sum()}
    return Naming.of(sure, count)


def difference(full: TUNIT, half: TUNIT, x: Any) -> dict[str, Any]:
    """Of the translations of `x` after its successors, in levels of 255; and how many domains stay the same."""
    pairs = [images.to_uint8(model.translate(x, x.roll(-1, dims=0))).astype(int) for model in (full, half)]
    apart = np.abs(pairs[0] - pairs[1])
    same = full.domains(x).argmax(dim=1) == half.domains(x).argmax(dim=1)
    return {
        "pictures": len(x),
        "largest_difference": int(apart.max()),
        "mean_difference": round(float(apart.mean()), 4),
        "same_domain": round(float(same.float().mean()), 4),
    }


def examples(config: Config) -> list[Image.Image]:
    """Pictures to open the page with: every species in turn."""
    drawn = [critter(OTHER_SEED, index, species=config.model.domains) for index in range(COMPARED)]
    of_kind = [[one for one in drawn if one.species == k] for k in range(config.model.domains)]
    return [
        Image.fromarray(draw(members[turn], config.model.size))
        for turn in range(EXAMPLES_PER_SPECIES)
        for members in of_kind
    ]


def storage(found: dict[str, Any]) -> str:
    return (
        "## How it is stored\n\nIn half precision, and it computes in single. Against the trained weights, "
        f"{found['pictures']} translations of critters that were not trained on differ by at most "
        f"{found['largest_difference']} of 255 levels in any pixel, by {found['mean_difference']} on average, and "
        f"{found['same_domain']:.1%} of the pictures are sorted into the same domain. The domains were found without "
        "labels; their names were given afterwards, by what the drawings are.\n"
    )


if __name__ == "__main__":
    main()
