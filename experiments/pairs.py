"""How alike are the pairs found in a folder, and how often does a pair have the source's content?

    python experiments/pairs.py --counts 4000 1000 500 200 100
    python experiments/pairs.py --folder photos/ --size 64

Critters of a development seed with their true species as domains: for each pair of different species, the similarity
and whether it agrees in each content level, and the seconds that the table took. Of a folder whose first level are the
domains: the similarities alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from open_tunit.data import critters
from open_tunit.data.dataset import open_dataset
from open_tunit.data.pairs import NONE, Pairs, describe, find_pairs
from open_tunit.media import images
from open_tunit.settings.config import Data
from open_tunit.settings.recipes import OURS

SPECIES = 5
EDGES = (-1.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[4000, 1000, 500, 200, 100])
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        dataset = open_dataset(Data(folder=str(arguments.folder), labels="folders"), size=arguments.size, seed=0)
        domains = torch.as_tensor(dataset.labels)
        _, similarity, _ = between(np.asarray(dataset.images), domains, len(dataset.label_names))
        print(f"{arguments.folder}: {quantiles(similarity)}")
        return
    drawn = [critters.critter(arguments.seed, index, species=SPECIES) for index in range(max(arguments.counts))]
    pixels = np.stack([critters.draw(critter, arguments.size) for critter in drawn])
    for count in arguments.counts:
        species = torch.tensor([critter.species for critter in drawn[:count]])
        begun = time.perf_counter()
        pairs, similarity, other = between(pixels[:count], species, SPECIES)
        print(f"{count} critters, {time.perf_counter() - begun:.1f} s: {quantiles(similarity)}")
        for name in critters.CONTENT_LEVELS:
            levels = torch.tensor([dataclasses.asdict(critter.content)[name] for critter in drawn[:count]])
            agrees = (levels[pairs.table] == levels[:, None])[other]
            print(f"  {name:6} {float(agrees.double().mean()):.2f}  {by_similarity(agrees, similarity)}")


def between(pixels: np.ndarray, domains: Tensor, count: int) -> tuple[Pairs, Tensor, Tensor]:
    """The pairs of uint8 images (N, S, S, 3), the similarities of those of other domains, and which (N, K) they are."""
    parts = (images.from_uint8(np.ascontiguousarray(part)) for part in np.array_split(pixels, -(-len(pixels) // 256)))
    pairs = find_pairs(describe(parts), domains, count)
    other = (torch.arange(count) != domains[:, None]) & (pairs.table != NONE)
    return pairs, pairs.similarity[other], other


def quantiles(similarity: Tensor) -> str:
    found = np.quantile(similarity.numpy(), QUANTILES)
    weights = ((similarity - OURS.pairs_distrusted) / (OURS.pairs_trusted - OURS.pairs_distrusted)).clamp(0, 1)
    shown = ", ".join(f"{q:g}: {value:.2f}" for q, value in zip(QUANTILES, found, strict=True))
    return f"similarity {shown}; mean weight {float(weights.mean()):.2f}"


def by_similarity(agrees: Tensor, similarity: Tensor) -> str:
    rows = []
    for low, high in itertools.pairwise(EDGES):
        within = (similarity >= low) & (similarity < high)
        if within.any():
            rows.append(f"{low:g} to {high:g}: {float(agrees[within].double().mean()):.2f} ({int(within.sum())})")
    return "; ".join(rows)


if __name__ == "__main__":
    main()
