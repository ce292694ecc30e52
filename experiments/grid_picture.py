"""A grid of held-out translations: one source and one reference of each folder of a data set's test part.

    python experiments/grid_picture.py MODEL DATA/test --out docs/images/fruits.png --take 5
    python experiments/grid_picture.py JOINT/model SEPARATE/model DATA/test --out two.png --cell 64

Left column: sources. Top row: references. Of several models the grids are side by side. `--take` chooses which pictures
of each folder, by their order; cells are enlarged to `--cell` pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.files import write_atomic
from open_tunit.media import images

GAP, APART = 4, 32
"""Pixels between cells, and between the grids of models."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--take", type=int, default=0)
    parser.add_argument("--cell", type=int, default=96)
    arguments = parser.parse_args()
    folders = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    listed = [sorted(folder.iterdir()) for folder in folders]
    first, last = ([paths[place] for paths in listed] for place in (arguments.take, -1 - arguments.take))
    grids = [grid(TUNIT.from_pretrained(model), first, last, arguments.cell) for model in arguments.models]
    picture = Image.new("RGB", (sum(part.width + APART for part in grids) - APART, grids[0].height), "white")
    for number, part in enumerate(grids):
        picture.paste(part, (number * (part.width + APART), 0))
    write_atomic(arguments.out, lambda path: picture.save(path, format="PNG"))


def grid(model: TUNIT, sources: list[Path], references: list[Path], cell: int) -> Image.Image:
    """Each source in the style of each reference."""
    x, other = model.squares(sources), model.squares(references)
    rows = [[None, *other], *([source, *row] for source, row in zip(x, model.grid(x, other), strict=True))]
    return sheet(rows, cell)


def sheet(rows: list[list[torch.Tensor | None]], cell: int) -> Image.Image:
    """Rows of images (3, S, S) in [-1, 1], None for a blank, as one picture."""
    step = cell + GAP
    picture = Image.new("RGB", (len(rows[0]) * step - GAP, len(rows) * step - GAP), "white")
    for y, row in enumerate(rows):
        for x, square in enumerate(row):
            if square is not None:
                enlarged = images.to_pil(square.cpu()).resize((cell, cell), Image.Resampling.BICUBIC)
                picture.paste(enlarged, (x * step, y * step))
    return picture


if __name__ == "__main__":
    main()
