"""Whose colours a translation has, by `--colours`: backgrounds, coats, species, on critters with their truth.

    python experiments/colours.py [--model critters] [--picture OUT.png]
    python experiments/colours.py --model fruits --folder FRUITS --picture OUT.png

Held-out critters of seed 0, each the source once and the reference once. A colour's place is where the translation's
mean colour lies between the source's (0) and the reference's (1), by least squares over all pairs: of the background,
the pixels outside both heads, and of the coat, the lighter half of its pixels, since patterns are dark. Species are
counted over pairs of different species, by a classifier; content is the mean over its factors. Of a folder's pictures
there is only the picture: each is a source, with the picture SHOWN places on as its reference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit import TUNIT
from open_tunit.data import critters
from open_tunit.data.cache import default_cache_root
from open_tunit.evaluation.ground_truth.answers import Pairs, held_out_pairs
from open_tunit.evaluation.ground_truth.classifiers import SPECIES, open_classifiers, truth_of
from open_tunit.media import images
from open_tunit.metrics.resampling import bootstrap_interval
from open_tunit.networks.style_code import Colours, strengths

SEED, SPECIES_COUNT = 0, 5
WAYS: dict[str, Colours | None] = {
    "all of the reference": None,
    "`--colours source`": "source",
    "`--colours 0.5`": 0.5,
    "`--colours reference`": "reference",
}
COVERED = 0.9
"""Share of a pixel that counts as coat, or as background."""
SHOWN = 5
Array = NDArray[np.float64]


def background(pictures: Tensor, pairs: Pairs) -> Array:
    """(N, 3) mean colours outside both heads."""
    free = (pairs.head < 1 - COVERED).double()  # (N, 1, S, S)
    return np.asarray((pictures * free).sum(dim=(2, 3)) / free.sum(dim=(2, 3)))


def coat(pictures: Tensor, drawn: list[critters.Critter]) -> Array:
    """(N, 3) mean colours of the lighter half of each coat's pixels."""
    found = []
    for picture, critter in zip(pictures.double().numpy(), drawn, strict=True):
        pixels = picture[:, critters.coat_mask(critter, picture.shape[-1]) > COVERED]  # (3, M)
        light = pixels.mean(axis=0)
        found.append(pixels[:, light >= np.median(light)].mean(axis=1))
    return np.array(found)


def place(found: Array, source: Array, reference: Array) -> str:
    """Between the source's colours (0) and the reference's (1), with a 95 % interval."""
    way = reference - source
    along, length = ((found - source) * way).sum(axis=1), (way**2).sum(axis=1)
    low, high = bootstrap_interval(along, length, seed=SEED)
    return f"{along.sum() / length.sum():.2f} ({low:.2f} to {high:.2f})"


def draw(model: TUNIT, folder: Path, target: Path) -> None:
    x = model.squares(sorted(folder.glob("*.png"))[: 2 * SHOWN])
    sources, references = x[:SHOWN], x[-SHOWN:]
    styles = model.style(references)
    ways = [model.redraw(sources, styles, strength=strengths(1.0, colours)) for colours in WAYS.values()]
    images.save_image(images.grid(torch.stack([sources, references, *ways])), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="critters")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    model = TUNIT.from_pretrained(arguments.model)
    if arguments.folder is not None:
        draw(model, arguments.folder, arguments.picture)
        return
    size = model.config.size
    pairs = held_out_pairs(f"critters:{SPECIES_COUNT}", size=size, seed=SEED)
    classifiers = open_classifiers(species=SPECIES_COUNT, size=size, cache_root=default_cache_root())
    answers = [critters.true_answer(s, r) for s, r in zip(pairs.sources, pairs.references, strict=True)]
    truth, different = truth_of(answers), pairs.different()
    styles = model.style(pairs.source)[pairs.order]
    ends = [
        (background(pairs.source, pairs), background(pairs.answer, pairs)),
        (coat(pairs.source, pairs.sources), coat(pairs.answer, answers)),
    ]
    shown = np.flatnonzero(different)[:SHOWN]
    rows = [pairs.source[shown], pairs.reference[shown]]
    print("| way | background | coat | species | content |\n|---|---|---|---|---|")
    for name, colours in WAYS.items():
        drawn = model.redraw(pairs.source, styles, strength=strengths(1.0, colours))
        rows.append(drawn[shown])
        found = background(drawn, pairs), coat(drawn, answers)
        places = [place(f, s, r) for f, (s, r) in zip(found, ends, strict=True)]
        levels = classifiers.levels(drawn)
        species = (levels[SPECIES] == truth[SPECIES].numpy())[different].mean()
        content = np.mean([(levels[factor] == truth[factor].numpy()).mean() for factor in critters.CONTENT_LEVELS])
        print(f"| {name} | {' | '.join(places)} | {species:.3f} | {content:.3f} |", flush=True)
    if arguments.picture is not None:
        images.save_image(images.grid(torch.stack(rows)), arguments.picture)


if __name__ == "__main__":
    main()
