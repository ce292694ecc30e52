"""Domain labels that the user gives: from folder names or a CSV; -1 where unknown."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.split import FOLDERS

UNKNOWN = ("", "-1")
_SHOWN = 3
"""How many offending names an error lists."""


def read_labels(
    spec: str | None, root: Path, files: Sequence[str], left_out: Sequence[str] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The label of each file, (N,) integers in [0, K) or -1 for unknown, and the K names they index.

    `spec` None: all unknown. "folders": the first folder of the path, a leading train/val/test apart; files outside
    any are unknown. Else a CSV with columns file,label (others are ignored): paths relative to `root`, or to the
    folder in the row's `split` column; an empty label, -1 or a missing row is unknown. Names are sorted, as numbers if
    all are. Rows may name files that were `left_out` as unreadable; a label that only those have is none. Raises
    FileNotFoundError, or ValueError when columns are missing, when rows name other files that `files` lacks or
    contradict each other, and when there are fewer than two labels.
    """
    if spec is None:
        return np.full(len(files), -1, dtype=np.int64), ()
    known = _from_folders(files) if spec == "folders" else _from_csv(Path(spec).expanduser(), root, [*files, *left_out])
    distinct = sorted({known[file] for file in files if file in known})
    if len(distinct) < 2:
        came = f"1 label, {distinct[0]!r}" if distinct else "no label"
        expected = f"one folder per domain in {root}" if spec == "folders" else "at least 2"
        raise ValueError(f"labels {spec}: {came} for {len(files)} images; expected {expected}")
    names = sorted(distinct, key=int) if all(name.isdecimal() for name in distinct) else distinct
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[known[file]] if file in known else -1 for file in files], dtype=np.int64), tuple(names)


def keep_fraction(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """`labels` with only this share of each class kept (rounded, at least one), the rest -1.

    A function of its arguments; what a smaller fraction keeps, a larger one keeps too.
    """
    kept = np.full_like(labels, -1)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng((seed, int(label))).permutation(members)
        kept[order[: max(1, round(fraction * len(members)))]] = label
    return kept


def _from_folders(files: Sequence[str]) -> dict[str, str]:
    known = {}
    for file in files:
        *folders, _ = file.split("/")
        if folders and folders[0].lower() in FOLDERS:
            folders = folders[1:]
        if folders:
            known[file] = _composed(folders[0])
    return known


def _from_csv(path: Path, root: Path, files: Sequence[str]) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f"labels is {path}, which is no file; expected `folders` or a CSV with file,label")
    known: dict[str, str] = {}
    strangers: list[str] = []
    present = {_composed(file): file for file in files} | {file: file for file in files}
    for row in _rows(path):
        file, label = _file(row, present), _composed((row["label"] or "").strip())
        if not label and not (row["file"] or "").strip():
            continue
        if file is None:
            strangers.append(row["file"] or "(empty)")
        elif label not in UNKNOWN and known.setdefault(file, label) != label:
            raise ValueError(f"{path} gives {file} two labels, {known[file]!r} and {label!r}")
    if strangers:
        more = ", ..." if len(strangers) > _SHOWN else ""
        raise ValueError(
            f"{path} names {len(strangers)} files that are not in {root}: {', '.join(strangers[:_SHOWN])}{more}"
        )
    return known


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows: list[dict[str, str | None]] = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV in UTF-8: {error}") from error
    if missing := [name for name in ("file", "label") if name not in columns]:
        raise ValueError(
            f"{path} lacks the column {' and '.join(missing)}; its first line must hold file,label; "
            f"it holds {','.join(columns) or 'nothing'}"
        )
    return rows


def _file(row: Mapping[str, str | None], present: Mapping[str, str]) -> str | None:
    name = (row["file"] or "").strip().replace("\\", "/").removeprefix("./")
    part = (row.get("split") or "").strip()
    paths = (f"{part}/{name}", name)
    return next((present[path] for path in (*paths, *map(_composed, paths)) if path in present), None)


def _composed(name: str) -> str:
    """The name with composed letters: macOS and its archives store é as e and an accent, others as one letter."""
    return unicodedata.normalize("NFC", name)
