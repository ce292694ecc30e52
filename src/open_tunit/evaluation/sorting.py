"""A folder sorted into domains: a table and a contact sheet per domain."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from open_tunit import images
from open_tunit.data.cache import build_store
from open_tunit.files import write_atomic
from open_tunit.model import TUNIT

SHEET_COLUMNS, SHEET_ROWS = 12, 8
CHUNK = 256


def sort_folder(model: TUNIT, data: Path, out: Path) -> tuple[list[int], tuple[tuple[str, str], ...]]:
    """Write OUT/domains.csv and OUT/domainK.png, the surest images first; returns counts and unreadable files.

    Raises ValueError where `out` holds a table already.
    """
    table = out / "domains.csv"
    if table.exists():
        raise ValueError(f"{table} exists already; name another folder")
    store = build_store(data, model.config.size, model.fit, model.background)
    parts = [
        model.domains(images.from_uint8(store.images[i : i + CHUNK])).cpu() for i in range(0, len(store.files), CHUNK)
    ]
    sure, domains = (part.numpy() for part in torch.cat(parts).max(dim=1))
    out.mkdir(parents=True, exist_ok=True)
    rows = [(f, int(d), f"{p:.4f}") for f, d, p in zip(store.files, domains, sure, strict=True)]
    write_atomic(table, lambda path: _write_csv(path, rows))
    for domain in range(model.config.domains):
        members = np.flatnonzero(domains == domain)
        members = members[np.argsort(-sure[members], kind="stable")][: SHEET_COLUMNS * SHEET_ROWS]
        if len(members):
            images.save_image(contact_sheet(store.images[members]), out / f"domain{domain}.png")
    return np.bincount(domains, minlength=model.config.domains).tolist(), store.unreadable


def contact_sheet(pixels: np.ndarray, columns: int = SHEET_COLUMNS) -> Image.Image:
    """Pictures (N, S, S, 3) uint8 in rows of `columns`."""
    tiles = images.from_uint8(torch.from_numpy(np.ascontiguousarray(pixels)))
    rows = -(-len(tiles) // columns)
    sheet = torch.ones(rows * columns, *tiles.shape[1:])
    sheet[: len(tiles)] = tiles
    return images.grid(sheet.unflatten(0, (rows, columns)))


def _write_csv(path: Path, rows: list[tuple[str, int, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "domain", "probability"))
        writer.writerows(rows)
