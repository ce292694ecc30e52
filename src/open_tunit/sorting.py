"""A folder sorted into domains: a table, a contact sheet per domain, a file for their names, a map of their styles."""

from __future__ import annotations

import csv
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from open_tunit.data.cache import Store, build_store, forget_pages
from open_tunit.data.scan import check_outside
from open_tunit.files import write_atomic, write_text_atomic
from open_tunit.media import images
from open_tunit.model import TUNIT
from open_tunit.model_files.naming import Naming
from open_tunit.model_files.places import NAMES
from open_tunit.style_map import MAPS, save_style_maps

SHEET_COLUMNS, SHEET_ROWS = 12, 8
CHUNK = 256
TABLE = "domains.csv"
NAMES_HEADER = """\
# What you call these domains, for the model's folder. Change the names as you like. Where a line begins with "# NAME",
# write a name instead of NAME and delete the # before it. A list makes one domain of several: "NAME: [0, 3]".
"""


@dataclasses.dataclass(frozen=True)
class Sorted:
    """What a folder was sorted into."""

    counts: list[int]
    """Images of each of the K domains."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of each file left out."""


def sort_folder(
    model: TUNIT, data: str | os.PathLike[str], out: str | os.PathLike[str], *, style_map: bool = False
) -> Sorted:
    """Write OUT/domains.csv, a contact sheet per domain (the surest images first) and OUT/domains.yaml to be filled in.

    With `style_map` also OUT/style_map_tsne.png, and OUT/style_map_umap.png where UMAP is installed. Raises ValueError
    where `out` holds one of these files already, and what opening the folder raises.
    """
    data, out = Path(data), Path(out)
    check_outside(out, data)
    table, sheets = out / TABLE, [f"{model.naming.label(k)}.png" for k in sorted(set(model.naming.heads))]
    for name in (TABLE, NAMES, *sheets, *MAPS.values()):
        if (out / name).exists():
            raise ValueError(f"{out / name} exists already; name another folder with --out, or delete it")
    store = build_store(data, model.config.size, model.fit, model.background)
    sure, domains = (part.numpy() for part in _of_parts(model.domains, store).max(dim=1))
    counts = np.bincount(domains, minlength=model.config.domains).tolist()
    out.mkdir(parents=True, exist_ok=True)
    if style_map:
        save_style_maps(out, _of_parts(model.style, store).numpy(), domains, model.naming.names)
    for domain in np.flatnonzero(counts):
        sheet = contact_sheet(store.images[_surest(domains == domain, sure)])
        images.save_image(sheet, out / f"{model.naming.label(int(domain))}.png")
    write_text_atomic(out / NAMES, names_to_fill_in(model.naming, counts))
    rows = [(f, int(d), model.naming.names[d], f"{p:.4f}") for f, d, p in zip(store.files, domains, sure, strict=True)]
    write_atomic(table, lambda path: _write_csv(path, rows))
    return Sorted(counts, store.unreadable)


def _of_parts(measure: Callable[[Tensor], Tensor], store: Store) -> Tensor:
    """What `measure` gives for all images, (N, d) on the CPU, with a part of the images in memory at a time."""
    numbers = []
    for start in range(0, len(store.files), CHUNK):
        numbers.append(measure(images.from_uint8(store.images[start : start + CHUNK])).cpu())
        forget_pages(store.images)
    return torch.cat(numbers)


def contact_sheet(pixels: np.ndarray, columns: int = SHEET_COLUMNS) -> Image.Image:
    """Pictures (N, S, S, 3) uint8 in rows of `columns`."""
    tiles = images.from_uint8(torch.from_numpy(np.ascontiguousarray(pixels)))
    rows = -(-len(tiles) // columns)
    sheet = torch.ones(rows * columns, *tiles.shape[1:])
    sheet[: len(tiles)] = tiles
    return images.grid(sheet.unflatten(0, (rows, columns)))


def names_to_fill_in(naming: Naming, counts: list[int]) -> str:
    """A domains.yaml with the names there are, and a line to complete for each domain without one."""
    lines = [
        f"# NAME: {number}  # {counts[number]} images{f', {naming.label(number)}.png' if counts[number] else ''}\n"
        for number, name in enumerate(naming.names)
        if name == str(number) and naming.heads.count(number) == 1 and naming.heads[number] == number
    ]
    return NAMES_HEADER + naming.to_yaml() + "".join(lines)


def _surest(members: NDArray[np.bool_], sure: NDArray[np.floating]) -> NDArray[np.intp]:
    """Positions of the members for one sheet."""
    found = np.flatnonzero(members)
    return found[np.argsort(-sure[found], kind="stable")][: SHEET_COLUMNS * SHEET_ROWS]


def _write_csv(path: Path, rows: list[tuple[str, int, str, str]]) -> None:
    names_as_they_are = sys.getfilesystemencodeerrors()  # those that are not UTF-8
    with path.open("w", newline="", encoding="utf-8", errors=names_as_they_are) as file:
        writer = csv.writer(file)
        writer.writerow(("file", "domain", "name", "probability"))
        writer.writerows(rows)
