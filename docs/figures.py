"""Draws the method page's figures: python docs/figures.py. No network is asked; critters tell the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from open_tunit.data import critters, views
from open_tunit.data.views import Views
from open_tunit.media import images

SEED, SIZE, SHOWN = 0, 64, 6
FOLDER = Path(__file__).parent / "images"


def answers() -> Image.Image:
    """Sources in the left column, references in the top row; between them what each translation should be."""
    sources, references = _critters(0, SHOWN - 2), _critters(20, SHOWN)
    blank = np.full((SIZE, SIZE, 3), 255, dtype=np.uint8)
    rows = [[blank, *map(_draw, references)]]
    rows += [[_draw(s), *(_draw(critters.true_answer(s, r)) for r in references)] for s in sources]
    return _sheet(rows)


def three_views() -> Image.Image:
    """Rows: x, its augmented view, the view that the domain objective compares it with."""
    x = images.from_uint8(np.stack([_draw(critter) for critter in _critters(40, SHOWN)]))
    chosen = Views(flip=False, colour=False, domain_colour=True, geometry="continuous", outside="reflect")
    drawn = views.draw(np.random.Generator(np.random.Philox(SEED)), len(x))
    shown = [x, views.augmented_view(x, drawn, chosen), views.domain_view(x, drawn, chosen)]
    return images.grid(torch.stack(shown))


FIGURES = {"answers.png": answers, "views.png": three_views}


def _critters(first: int, count: int) -> list[critters.Critter]:
    """One of each species in turn."""
    found: list[critters.Critter] = []
    index = first
    while len(found) < count:
        critter = critters.critter(SEED, index)
        if critter.species == len(found) % 5:
            found.append(critter)
        index += 1
    return found


def _draw(critter: critters.Critter) -> np.ndarray:
    return critters.draw(critter, SIZE)


def _sheet(rows: list[list[np.ndarray]]) -> Image.Image:
    return images.grid(
        images.from_uint8(np.stack([tile for row in rows for tile in row])).unflatten(0, (len(rows), -1))
    )


if __name__ == "__main__":
    for name, figure in FIGURES.items():
        images.save_image(figure(), FOLDER / name)
