"""Whose outline a translation has, of objects on white: overlap with the source's and with the reference's.

    python experiments/outlines.py MODEL [MODEL ...] --folder DATA/test

Pairs of different domains, drawn from the pictures of the folder. An outline is where the mean of the channels is
below WHITE; the overlap is the intersection over the union, the mean over pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from open_tunit import TUNIT
from open_tunit.data.scan import scan

WHITE = 0.85
"""In [-1, 1]."""
CHUNK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=600)
    given = parser.parse_args()
    for name in given.models:
        source, reference, apart = overlaps(TUNIT.from_pretrained(name), given.folder, given.pairs)
        print(f"{name}: with the source's {source:.3f}, the reference's {reference:.3f}; of the two {apart:.3f}")


def overlaps(model: TUNIT, folder: Path, count: int) -> tuple[float, float, float]:
    """Mean overlap of the translation with the source, with the reference, and of these two."""
    x = model.squares([folder / name for name in scan(folder)])
    domains = model.domains(x).argmax(dim=1)
    i, j = torch.from_numpy(np.random.default_rng(0).integers(0, len(x), (2, count)))
    different = domains[i] != domains[j]
    sources, references = x[i[different]], x[j[different]]
    parts = zip(sources.split(CHUNK), references.split(CHUNK), strict=True)
    translations = torch.cat([model.translate(*part) for part in parts])
    return overlap(sources, translations), overlap(references, translations), overlap(sources, references)


def overlap(x: Tensor, y: Tensor) -> float:
    """Mean intersection over union of the outlines of images (N, 3, S, S)."""
    one, other = (images.mean(dim=1) < WHITE for images in (x, y))
    together = (one & other).sum(dim=(1, 2)) / (one | other).sum(dim=(1, 2)).clamp(min=1)
    return float(together.mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
