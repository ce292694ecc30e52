"""The models that come with the package: trained, measured, halved and written to src/open_tunit/bundled/NAME.

    python experiments/bundled_model.py critters --size 64 --minutes 30
    python experiments/bundled_model.py fruits --data FRUITS_360 --domains 4 --minutes 15 --distil-minutes 6

Stopped, the same line goes on; when the run is finished it only measures and writes. Half precision is compared with
the full one on pictures that were not trained on, and refused above LARGEST_DIFFERENCE.

critters: preset `cpu`, without patches, which cost content in runs of this length, and with the palette's former rate.
The bundled critters are those of commit cc3eccf, 3,102 steps (docs/results.md).

fruits: preset `photos` on a folder of them, in folders by kind, from which the domains are named afterwards; then
distilled, so that it needs no other people's weights (method.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment

from open_tunit import TUNIT, Config, evaluate, train
from open_tunit.card import Publication, published_card
from open_tunit.data.critters import SPECIES, critter, draw
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.run import evaluate_run
from open_tunit.media import images
from open_tunit.metrics.agreement import contingency
from open_tunit.model_files import places
from open_tunit.model_files.naming import Naming
from open_tunit.training.distillation import distil
from open_tunit.training.reports.samples import choose_samples

OTHER_SEED = 1
"""Of the critters that names, comparison and examples are taken from; the run's is 0."""
COMPARED, EXAMPLES_PER_KIND = 500, 2
LARGEST_DIFFERENCE = 4
"""Levels of 255, of any pixel of any translation."""
LEAST_AGREEMENT = 0.95
"""Share of held-out images that a distilled model must leave in their domain."""
CAPTION = "Top row: references. Left column: sources. After the gap: each source in the domains' typical styles."
ATTRIBUTION = "ATTRIBUTION.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """What a bundled model is, beside its weights."""

    name: str
    license: str
    pictures: str
    """What it is compared on."""
    intended_use: str
    most_bytes: int
    attribution: str | None = None
    """A file beside the weights, where the pictures are other people's."""


CRITTERS = Kind(
    name="critters",
    license="apache-2.0",
    pictures="critters",
    intended_use="Trying open-tunit out, and its tests. It was trained on five kinds of cartoon heads and nothing "
    "else; photographs become blurs.",
    most_bytes=6_000_000,
)
FRUITS = Kind(
    name="fruits",
    license="cc-by-sa-4.0",
    pictures="photographs of fruits",
    intended_use="Trying open-tunit out on photographs. It was trained on a few kinds of fruits on white and "
    "nothing else.",
    most_bytes=12_000_000,
    attribution="""# Attribution

The weights, the examples and the sample grid in this folder are made from photographs of **Fruits-360** by
Mihai Oltean (Horea Mureșan and Mihai Oltean, *Fruit recognition from images using deep learning*, Acta Universitatis
Sapientiae, Informatica 10(1), 2018; <https://www.kaggle.com/datasets/moltean/fruits>), licensed under
[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/).

Changed: the photographs were resized; a model was trained on them; the grid shows its translations. This folder is
offered under the same licence, CC BY-SA 4.0, whose text is at
<https://creativecommons.org/licenses/by-sa/4.0/legalcode>. The rest of open-tunit is under the Apache License 2.0.
""",
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=("critters", "fruits"), default="critters")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--steps", type=int, help="fruits: of the run, in place of minutes")
    parser.add_argument("--distil-minutes", type=float, default=6, help="fruits")
    parser.add_argument("--distil-steps", type=int, help="fruits: in place of minutes")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--data", help="fruits: folder of a folder for each kind, in train/ and test/")
    parser.add_argument("--domains", type=int, default=4)
    parser.add_argument("--run", type=Path, help="folder of the run; runs/bundled-NAME")
    asked = parser.parse_args(words)
    run = asked.run or Path(f"runs/bundled-{asked.name}")
    if asked.name == "critters":
        found = make_critters(run, size=asked.size, minutes=asked.minutes)
    elif asked.data is None:
        parser.error("fruits needs --data FOLDER")
    else:
        settings = {"size": asked.size, "domains": asked.domains}
        settings |= {"minutes": asked.minutes} if asked.steps is None else {"steps": asked.steps}
        steps = asked.distil_steps
        distilling = {"minutes": asked.distil_minutes} if steps is None else {"steps": steps}
        found = make_fruits(asked.data, run, settings, distilling=distilling)
    print("\n".join(f"{name}: {value}" for name, value in found.items()))


def make_critters(run: Path, *, size: int, minutes: float) -> dict[str, Any]:
    """Train, measure and write the model `critters`."""
    overrides = {
        "training.patch_weight": 0.0,
        "training.joint_guiding_learning_rate": 3e-4,
        "training.joint_guiding_full_steps": None,
    }
    config = Config.preset("cpu", data="critters:5", out=str(run), size=size, minutes=minutes, overrides=overrides)
    train(config)
    return bundle(run, evaluate_run(run), places.BUNDLED / CRITTERS.name)


def bundle(run: Path, figures: dict[str, Any], target: Path) -> dict[str, Any]:
    """Write the model of a measured `run` on critters to `target`, which is replaced; returns what was found."""
    config = Config.from_yaml((run / "config.yaml").read_text(encoding="utf-8"))
    model = TUNIT.from_pretrained(run / "model")
    drawn = [critter(OTHER_SEED, index, species=config.model.domains) for index in range(COMPARED)]
    x = images.from_uint8(np.stack([draw(one, config.model.size) for one in drawn]))
    kinds = np.array([one.species for one in drawn])
    grid = Image.open(sorted((run / "samples").glob("[0-9]*.png"))[-1])
    return written(CRITTERS, model, config, figures, (x, kinds, SPECIES), grid, target)


def make_fruits(
    data: str, run: Path, settings: dict[str, Any], *, distilling: dict[str, Any], target: Path | None = None
) -> dict[str, Any]:
    """Train, distil, measure and write the model `fruits`; `settings` are Config.preset's."""
    config = Config.preset("photos", data=data, out=str(run), **settings)
    trained = train(config)
    config = Config.from_yaml((run / "config.yaml").read_text(encoding="utf-8"))  # with its steps counted out
    labelled = dataclasses.replace(config.data, labels="folders")
    dataset = open_dataset(labelled, size=config.model.size, seed=config.seed)
    model = distil(trained, dataset, seed=config.seed, **distilling)
    if model.about["distilled"]["domain_agreement"] < LEAST_AGREEMENT:
        raise ValueError(f"{model.about['distilled']}; expected at least {LEAST_AGREEMENT} to stay in their domain")
    held_out = np.flatnonzero(dataset.split != "train")[:COMPARED]
    x = images.from_uint8(np.ascontiguousarray(dataset.images[held_out]))
    figures = evaluate(model, data, labels="folders", seed=config.seed)
    model.about["data"] = model.about["data"] | {"name": "Fruits-360"}
    samples = choose_samples(dataset, seed=config.seed, device=torch.device("cpu"))
    grid = images.grid(samples.translations(model))
    compared = x, dataset.labels[held_out], dataset.label_names
    return written(FRUITS, model, config, figures, compared, grid, target or places.BUNDLED / FRUITS.name)


def written(
    kind: Kind,
    model: TUNIT,
    config: Config,
    figures: dict[str, Any],
    compared: tuple[torch.Tensor, np.ndarray, Sequence[str]],
    grid: Image.Image,
    target: Path,
) -> dict[str, Any]:
    """Write the model in half precision to `target`, which is replaced; returns what was found on the way.

    `compared` are pictures that were not trained on, what each is, and the names of that: the domains get them.
    """
    x, truth, called = compared
    model.name_domains(names(model.domains(x).argmax(dim=1).numpy(), truth, called, model.config.domains))
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "model"
        model.save_pretrained(staged, half=True)
        found = difference(model, TUNIT.from_pretrained(staged), x)
        model.about["half_precision"] = found
        card = Publication(
            name=kind.name,
            license=kind.license,
            intended_use=kind.intended_use,
            metrics=figures,
            picture="samples.png",
            caption=CAPTION,
        )
        text = published_card(model.config, model.about, card, run=config)
        model.save_pretrained(staged, card=f"{text}\n{storage(kind, found)}", examples=examples(x, truth), half=True)
        grid.save(staged / "samples.png")
        if kind.attribution is not None:
            (staged / ATTRIBUTION).write_text(kind.attribution, encoding="utf-8")
        size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
        if found["largest_difference"] > LARGEST_DIFFERENCE or size > kind.most_bytes:
            raise ValueError(f"{size} bytes, {found}; expected at most {kind.most_bytes} and {LARGEST_DIFFERENCE}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(staged, target)
    return {"bytes": size, "names": model.naming.names, **found, **model.about.get("distilled", {})}


def names(found: np.ndarray, truth: np.ndarray, called: Sequence[str], count: int) -> Naming:
    """Each domain by the name of what it matches best, one to one, where most of it is that."""
    table = contingency(found, truth)
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    sure = {called[k]: int(d) for d, k in pairs if d < count and 2 * table[d, k] > table[d].sum()}
    return Naming.of(sure, count)


def difference(full: TUNIT, half: TUNIT, x: torch.Tensor) -> dict[str, Any]:
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


def examples(x: torch.Tensor, truth: np.ndarray) -> list[Image.Image]:
    """Pictures to open the page with: every kind in turn."""
    of_kind = [np.flatnonzero(truth == k)[:EXAMPLES_PER_KIND] for k in np.unique(truth)]
    turns = [members[turn] for turn in range(EXAMPLES_PER_KIND) for members in of_kind if turn < len(members)]
    return [images.to_pil(x[index]) for index in turns]


def storage(kind: Kind, found: dict[str, Any]) -> str:
    attribution = f" {ATTRIBUTION} has the source of its pictures, and their licence." if kind.attribution else ""
    return (
        "## How it is stored\n\nIn half precision, and it computes in single. Against the trained weights, "
        f"{found['pictures']} translations of {kind.pictures} that were not trained on differ by at most "
        f"{found['largest_difference']} of 255 levels in any pixel, by {found['mean_difference']} on average, and "
        f"{found['same_domain']:.1%} of the pictures are sorted into the same domain. The domains were found without "
        f"labels; their names were given afterwards, by what the pictures are.{attribution}\n"
    )


if __name__ == "__main__":
    main()
