"""Wide pictures: the middle square translated, or the whole picture. Which is nearer to the true answer?

    python experiments/whole.py [--model critters] [--pairs 200] [--folder FOLDER] [--picture OUT.png]

Held-out critters of seed 0 on wide backgrounds: in the middle, at one end, or two heads side by side. Errors are mean
absolute differences from the true answer of the whole picture, as a share of the unchanged source's; species and
content are read by the classifiers from a head's own square. The seam is the mean step between the columns on either
side of the middle square's edges, in levels of 255, less that of the unchanged source. With a folder of square pictures
on white only the seam is measured, on those pictures put side by side.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.data import critters
from open_tunit.data.cache import default_cache_root
from open_tunit.data.scan import scan
from open_tunit.evaluation.ground_truth.answers import held_out_pairs
from open_tunit.evaluation.ground_truth.classifiers import SPECIES, open_classifiers, truth_of
from open_tunit.media import images
from open_tunit.media.pictures import Source

SEED, SPECIES_COUNT = 0, 5
SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Layout:
    """Heads in squares of a wide picture."""

    name: str
    width: float
    """Over the height."""
    places: tuple[float, ...]
    """Left edges of the heads' squares, in heights."""


LAYOUTS = (
    Layout("4:3, in the middle", 4 / 3, (1 / 6,)),
    Layout("3:2, in the middle", 3 / 2, (1 / 4,)),
    Layout("2:1, in the middle", 2, (1 / 2,)),
    Layout("2:1, at the left end", 2, (0,)),
    Layout("2:1, two heads", 2, (0, 1)),
)


def drawn(heads: list[critters.Critter], layout: Layout, size: int) -> np.ndarray:
    """(size, width, 3): the heads, of one style, on one background."""
    at_the_right = dataclasses.replace(heads[0].content, x=2, tilt=1)
    empty = critters.draw(dataclasses.replace(heads[0], content=at_the_right), size)[:, :1]  # no head reaches this
    canvas = np.repeat(empty, round(size * layout.width), axis=1)
    for head, place in zip(heads, layout.places, strict=True):
        left = round(place * size)
        canvas[:, left : left + size] = critters.draw(head, size)
    return canvas


def seam(pictures: list[np.ndarray]) -> float:
    """Mean step across the two edges of the middle squares."""
    steps = []
    for picture in pictures:
        height, width = picture.shape[:2]
        left = (width - height) // 2
        for edge in (left, left + height):
            steps.append(np.abs(picture[:, edge].astype(float) - picture[:, edge - 1]).mean())
    return float(np.mean(steps))


def redrawn(model: TUNIT, sources: list[np.ndarray], styles: torch.Tensor, whole: bool) -> list[np.ndarray]:
    pictures = [Source(Image.fromarray(source), whole=whole) for source in sources]
    return [np.asarray(picture) for picture in model.redraw(pictures, styles)]


def measured(model: TUNIT, layout: Layout, count: int) -> dict[str, list[np.ndarray]]:
    """Prints a row for each way; returns sources, answers and both translations."""
    size = model.config.size
    pairs = held_out_pairs(f"critters:{SPECIES_COUNT}", size=size, seed=SEED)
    classifiers = open_classifiers(species=SPECIES_COUNT, size=size, cache_root=default_cache_root())
    references = pairs.references[:count]
    neighbours = [*pairs.sources[1:count], pairs.sources[0]]
    heads = [
        [dataclasses.replace(first, content=content.content) for content in (first, second)][: len(layout.places)]
        for first, second in zip(pairs.sources[:count], neighbours, strict=True)
    ]
    wanted = [
        [critters.true_answer(head, reference) for head in group]
        for group, reference in zip(heads, references, strict=True)
    ]
    sources = [drawn(group, layout, size) for group in heads]
    answers = [drawn(group, layout, size) for group in wanted]
    different = np.array([group[0].species != target[0].species for group, target in zip(heads, wanted, strict=True)])
    styles = model.style(pairs.reference[:count])
    found = {"source": sources, "answer": answers}
    for name, whole in (("middle square", False), ("whole", True)):
        found[name] = redrawn(model, sources, styles, whole)
        ratio = error(found[name], answers) / error(sources, answers)
        hits, kept = [], []
        for number, place in enumerate(layout.places):
            left = round(place * size)
            squares = np.stack([picture[:, left : left + size] for picture in found[name]])
            levels = classifiers.levels(images.from_uint8(squares))
            truth = truth_of([group[number] for group in wanted])
            hits.append((levels[SPECIES] == truth[SPECIES].numpy())[different].mean())
            kept.append(np.mean([(levels[f] == truth[f].numpy()).mean() for f in critters.CONTENT_LEVELS]))
        more = seam(found[name]) - seam(sources)
        print(
            f"| {layout.name} | {name} | {ratio:.3f} | {np.mean(hits):.3f} | {np.mean(kept):.3f} | {more:.1f} |",
            flush=True,
        )
    return found


def error(pictures: list[np.ndarray], answers: list[np.ndarray]) -> float:
    pairs = zip(pictures, answers, strict=True)
    return float(np.mean([np.abs(one.astype(float) - other).mean() for one, other in pairs]))


def folder_measured(model: TUNIT, folder: Path, count: int) -> dict[str, list[np.ndarray]]:
    """Square pictures of a folder, each between two halves of white, or beside the next one."""
    names = scan(folder)
    count = min(count, len(names) // 2)
    chosen = [names[i] for i in np.random.default_rng(SEED).permutation(len(names))[: 2 * count]]
    squares = [np.asarray(images.fit(images.read_image(folder / name), 100, "crop")) for name in chosen]
    white = np.full((100, 50, 3), 255, dtype=np.uint8)
    layouts: dict[str, Callable[[int], np.ndarray]] = {
        "2:1, in the middle": lambda i: np.concatenate([white, squares[i], white], axis=1),
        "2:1, two pictures": lambda i: np.concatenate([squares[i], squares[(i + 1) % count]], axis=1),
    }
    styles = model.style([folder / name for name in chosen[count:]])
    found = {}
    for name, layout in layouts.items():
        sources = [layout(i) for i in range(count)]
        found[f"{name}: source"] = sources
        for way, whole in (("middle square", False), ("whole", True)):
            pictures = redrawn(model, sources, styles, whole)
            print(f"| {name} | {way} | {seam(pictures) - seam(sources):.1f} |", flush=True)
            found[f"{name}: {way}"] = pictures
    return found


def sheet(rows: list[list[np.ndarray]], pad: int = 4) -> Image.Image:
    """Pictures in rows of one height each."""
    lines = []
    for row in rows:
        line = [np.pad(picture, ((pad, 0), (pad, 0), (0, 0)), constant_values=255) for picture in row]
        lines.append(np.concatenate(line, axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return Image.fromarray(np.concatenate(padded))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="critters")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    model = TUNIT.from_pretrained(arguments.model)
    if arguments.folder is not None:
        found = folder_measured(model, arguments.folder, arguments.pairs)
        rows = [[pictures[i] for pictures in found.values()] for i in range(SHOWN)]
    else:
        print("| layout | way | error | species | content | seam |\n|---|---|---|---|---|---|")
        layouts = [measured(model, layout, arguments.pairs) for layout in LAYOUTS]
        rows = [[picture[i] for picture in found.values()] for found in layouts for i in range(2)]
    if arguments.picture is not None:
        images.save_image(sheet(rows), arguments.picture)


if __name__ == "__main__":
    main()
