"""Which images are sources and references: fixed by the part and the seed, so that two runs compare."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.dataset import Dataset
from open_tunit.rng import Stream, rng

MOST_IMAGES = 2000
USUAL_PAIRS, MOST_ROUNDS = 2000, 4
"""Unless asked otherwise: each image is a source as often as it takes to reach so many pairs, at most so many times."""

Part = Literal["test", "val", "train", "all"]


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """P pairs of N images of a part."""

    part: str
    seed: int
    images: NDArray[np.int64]
    """(N,) positions in the data set, ascending."""
    sources: NDArray[np.int64]
    """(P,) positions in `images`."""
    references: NDArray[np.int64]
    """(P,) positions in `images`."""


def select_pairs(
    dataset: Dataset, *, part: Part = "test", pairs: int | None = None, seed: int = 0, most: int = MOST_IMAGES
) -> Selection:
    """Rounds in which each image of the part is the source once and the reference once, by a seeded permutation.

    An empty part falls back: test to val, val to train. At most `most` images, drawn by the seed. Raises
    ValueError for fewer than one pair or an unknown part.
    """
    if pairs is not None and pairs < 1:
        raise ValueError(f"pairs is {pairs}; at least 1 is needed")
    used, images = _images_of(dataset, part, seed, most)
    count = len(images)
    wanted = pairs or min(USUAL_PAIRS, MOST_ROUNDS * count)
    generator = rng(seed, Stream.EVALUATED_PAIRS)
    sources, references = [], []
    for left in range(wanted, 0, -count):
        order = generator.permutation(count)
        chosen = np.arange(count) if left >= count else np.sort(generator.permutation(count)[:left])
        sources.append(chosen)
        references.append(order[chosen])
    return Selection(used, seed, images, np.concatenate(sources), np.concatenate(references))


def describe_selection(selection: Selection, dataset: Dataset) -> dict[str, object]:
    """The part of the protocol on what was paired with what."""
    return {
        "part": selection.part,
        "images": len(selection.images),
        "pairs": len(selection.sources),
        "seed": selection.seed,
        "size": dataset.images.shape[1],
        "fingerprint": dataset.fingerprint,
        "sources": f"every image of the part (at most {MOST_IMAGES}, drawn by the seed), in rounds",
        "references": "a seeded permutation of the same images in each round",
    }


def _images_of(dataset: Dataset, part: str, seed: int, most: int) -> tuple[str, NDArray[np.int64]]:
    if part == "all":
        indices = np.arange(len(dataset.files))
    else:
        indices = dataset.indices(part)
        for fallback in ("val", "train")[("test", "val", "train").index(part) :]:
            if not len(indices):
                part, indices = fallback, dataset.indices(fallback)
    if len(indices) > most:
        generator = rng(seed, Stream.EVALUATED_IMAGES)
        indices = np.sort(generator.permutation(indices)[:most])
    return part, indices.astype(np.int64)
