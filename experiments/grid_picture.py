"""A grid of held-out translations: one source and one reference of each folder of a data set's test part.

    python experiments/grid_picture.py MODEL DATA/test --out docs/images/fruits.png --take 5

Left column: sources. Top row: references. `--take` chooses which pictures of each folder, by their order; cells are
enlarged to `--cell` pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.files import write_atomic
from open_tunit.media import images

GAP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--take", type=int, default=0)
    parser.add_argument("--cell", type=int, default=96)
    arguments = parser.parse_args()
    model = TUNIT.from_pretrained(arguments.model)
    folders = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    listed = [sorted(folder.iterdir()) for folder in folders]
    sources = model.squares([paths[arguments.take] for paths in listed])
    references = model.squares([paths[-1 - arguments.take] for paths in listed])
    drawn = model.grid(sources, references)
    rows = [[None, *references], *([source, *row] for source, row in zip(sources, drawn, strict=True))]
    picture = sheet(rows, arguments.cell)
    write_atomic(arguments.out, lambda path: picture.save(path, format="PNG"))


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
