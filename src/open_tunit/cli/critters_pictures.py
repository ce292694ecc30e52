"""`tunit critters`."""

from __future__ import annotations

from pathlib import Path


def critters(out: Path, count: int = 100, species: int = 5, size: int = 64, seed: int = 1) -> None:
    """Draw pictures of the built-in set into a folder, to try the other commands on.

    Args:
        out: New folder for the pictures: a folder for each species.
        count: Number of pictures.
        species: Number of species, 2 to 10.
        size: Side of the pictures in pixels.
        seed: Seed of the drawings; the bundled checkpoint critters was trained on those of 0.
    """
    if count < 1 or size < 1 or seed < 0:
        raise ValueError(f"--count is {count}, --size {size}, --seed {seed}; expected 1 or more, and no seed below 0")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; name another")
    from collections import Counter

    from PIL import Image

    from open_tunit.data.critters import SPECIES, critter, draw
    from open_tunit.media.images import save_image

    drawn: Counter[str] = Counter()
    for index in range(count):
        one = critter(seed, index, species=species)
        name = SPECIES[one.species]
        (out / name).mkdir(parents=True, exist_ok=True)
        save_image(Image.fromarray(draw(one, size)), out / name / f"{drawn[name]}.png")
        drawn[name] += 1
    print(f"{', '.join(f'{drawn[name]} {name}' for name in SPECIES if drawn[name])} in {out}")
