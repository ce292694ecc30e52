"""Every file of a folder: used, converted or left out, and why; found by reading it as training does."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from open_tunit.data.cache_format import Row, Stat
from open_tunit.data.dataset import Dataset
from open_tunit.data.decoding import Progress, listing, produced, read_row, workers
from open_tunit.data.duplicates import Indices, first_within
from open_tunit.data.inspection import Inspection
from open_tunit.data.scan import scan
from open_tunit.data.split import split
from open_tunit.files import write_atomic
from open_tunit.media import reasons
from open_tunit.media.conversions import CONVERSIONS

FORMAT_VERSION = 1
"""Of the JSON file."""
LONGEST = 3.0
"""Sides of a picture that crops lose little of differ by at most this factor."""
SHOWN = 3
"""How many files of a finding are named in a line."""
Use = Literal["left out", "to look at", "converted", "passed over"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examination:
    """What reading all files of a folder showed: N are used, sorted by path."""

    folder: str
    size: int
    """Side in pixels of the squares that training makes of the pictures."""
    files: tuple[str, ...]
    hashes: tuple[str, ...]
    """N hexadecimal SHA-256 of the files' contents."""
    inspections: tuple[Inspection, ...]
    left_out: tuple[tuple[str, str], ...]
    """Path and reason of what looks like a picture and is not used."""
    passed_over: tuple[tuple[str, str], ...]
    """Path and reason of everything else that is not used."""


class Finding(NamedTuple):
    """What is to be told of some files."""

    use: Use
    name: str
    """One of CONVERSIONS, small, elongated, one-tone, copy, near, copy-of-training, near-training; else empty."""
    what: str
    """As a sentence that the file's name begins."""
    files: dict[str, str]
    """Path -> the file that it is like, the details of its reason, or nothing."""

    def examples(self) -> list[tuple[str, str]]:
        """The first few of `files`."""
        return list(itertools.islice(self.files.items(), SHOWN))

    def line(self) -> str:
        """Count, use and the first files, in a sentence."""
        first, *others = (file for file, _ in self.examples())
        more = f"; also {', '.join(others)}{', ...' if len(self.files) > SHOWN else ''}" if others else ""
        return f"{len(self.files):,} {self.use}: {first} {self.what}{more}"


def examine(folder: str | os.PathLike[str], *, size: int, progress: Progress | None = None) -> Examination:
    """Read every file of `folder` as training at `size` does, in threads, and keep no pixels.

    `progress` gets the number of files read and the total, after each. Raises what `scan` does, except for a folder
    all of whose pictures are left out.
    """
    root = Path(folder)
    left_out: list[tuple[str, str]] = []
    passed_over: list[tuple[str, str]] = []

    def leave_out(file: str, reason: str) -> None:
        left_out.append((file, reason))

    try:
        found = scan(root, left_out=leave_out, passed_over=lambda file, reason: passed_over.append((file, reason)))
    except ValueError:
        if not left_out:
            raise
        found = ()

    def read(file: str, stat: Stat) -> Row:
        return dataclasses.replace(read_row(root, file, stat, size=size, fit="crop", background="#ffffff"), pixels=None)

    used: list[tuple[str, str, Inspection]] = []
    for row in produced(listing(root, found, leave_out), read, workers(), progress):
        if row.inspection is None:
            leave_out(row.file, row.text)
        else:
            used.append((row.file, row.text, row.inspection))
    return Examination(
        folder=str(folder),
        size=size,
        files=tuple(file for file, _, _ in used),
        hashes=tuple(digest for _, digest, _ in used),
        inspections=tuple(inspection for _, _, inspection in used),
        left_out=tuple(sorted(left_out)),
        passed_over=tuple(passed_over),
    )


def examined(dataset: Dataset, folder: str) -> Examination | None:
    """The same of an opened data set, without reading anything again; None of critters."""
    inspections = tuple(inspection for inspection in dataset.inspections if inspection is not None)
    if not inspections:
        return None
    return Examination(
        folder=folder,
        size=dataset.images.shape[1],
        files=dataset.files,
        hashes=dataset.hashes,
        inspections=inspections,
        left_out=dataset.unreadable,
        passed_over=dataset.passed_over,
    )


def findings(examination: Examination) -> list[Finding]:
    """What is to be told: of what is left out first, then of what is used, the most files first within each use."""
    found = [
        *by_reason("left out", examination.left_out),
        *_looks(examination),
        *_likenesses(examination),
        *_conversions(examination),
        *by_reason("passed over", examination.passed_over),
    ]
    order = ("left out", "to look at", "converted", "passed over")
    return sorted((finding for finding in found if finding.files), key=lambda f: (order.index(f.use), -len(f.files)))


def by_reason(use: Use, files: Iterable[tuple[str, str]]) -> list[Finding]:
    """Files that are not used, with their reasons, by what these have in common."""
    kinds: dict[str, dict[str, str]] = {}
    for file, reason in files:
        kind = reasons.kind(reason)
        kinds.setdefault(kind, {})[file] = reason[len(kind) :].removeprefix(": ")
    return [Finding(use, "", kind, members) for kind, members in kinds.items()]


def save_manifest(examination: Examination, path: Path, found: Sequence[Finding]) -> None:
    """Write a JSON file atomically: counts, `found` (what `findings` gave), a line for each file. Raises OSError."""
    write_atomic(path, lambda temporary: _write(examination, temporary, found))


def _conversions(examination: Examination) -> list[Finding]:
    members: dict[str, dict[str, str]] = {name: {} for name in CONVERSIONS}
    for file, inspection in zip(examination.files, examination.inspections, strict=True):
        for name in inspection.conversions:
            members[name][file] = ""
    return [Finding("converted", name, CONVERSIONS[name], files) for name, files in members.items()]


def _looks(examination: Examination) -> list[Finding]:
    small, elongated, one_tone = {}, {}, {}
    for file, seen in zip(examination.files, examination.inspections, strict=True):
        shorter, longer = sorted((seen.width, seen.height))
        shape = f"{seen.width} x {seen.height}"
        if shorter < examination.size:
            small[file] = shape
        if longer > LONGEST * shorter:
            elongated[file] = shape
        if seen.phash is None:
            one_tone[file] = ""
    return [
        Finding("to look at", "small", f"is smaller than {examination.size} px: enlarged", small),
        Finding("to look at", "elongated", f"is more than {LONGEST:g} times as long as wide", elongated),
        Finding("to look at", "one-tone", "is of one tone", one_tone),
    ]


def _likenesses(examination: Examination) -> list[Finding]:
    """Copies and near duplicates, and those in val or test of training pictures."""
    training = split(examination.files, examination.hashes) == "train"
    every, train, held_out = np.arange(len(training)), np.flatnonzero(training), np.flatnonzero(~training)
    return [
        Finding("to look at", name, what, like(examination, of, among))
        for name, what, like, of, among in (
            ("copy-of-training", "is a copy of a training picture, and in val or test", _copies, held_out, train),
            ("near-training", "looks nearly like a training picture, and is in val or test", _near, held_out, train),
            ("copy", "is a copy of another file", _copies, every, every),
            ("near", "looks nearly like another file", _near, every, every),
        )
    ]


def _copies(examination: Examination, of: Indices, among: Indices) -> dict[str, str]:
    """File -> the first of `among` with the same content, unless that is itself."""
    files, hashes = examination.files, examination.hashes
    first = _first_of_content(examination, among)
    return {files[i]: files[first[hashes[i]]] for i in of if first.get(hashes[i], i) != i}


def _near(examination: Examination, of: Indices, among: Indices) -> dict[str, str]:
    """File -> the first of `among` that looks nearly the same, for files that are no copies."""
    files, hashes, seen = examination.files, examination.hashes, examination.inspections
    first = _first_of_content(examination, among)
    base = [i for i in first.values() if seen[i].phash is not None]
    asked = [i for i in of if seen[i].phash is not None and first.get(hashes[i], i) == i]
    found = first_within(*(np.array([seen[i].phash for i in group], dtype=np.uint64) for group in (asked, base)))
    return {files[i]: files[base[j]] for i, j in zip(asked, found, strict=True) if j >= 0 and base[j] != i}


def _first_of_content(examination: Examination, among: Indices) -> dict[str, int]:
    first: dict[str, int] = {}
    for i in among:
        first.setdefault(examination.hashes[i], int(i))
    return first


def _write(examination: Examination, path: Path, found: Sequence[Finding]) -> None:
    head = {
        "format_version": FORMAT_VERSION,
        "folder": examination.folder,
        "size": examination.size,
        "used": len(examination.files),
        "left_out": len(examination.left_out),
        "passed_over": len(examination.passed_over),
        "findings": [
            {"use": finding.use, "name": finding.name, "what": finding.what, "files": len(finding.files)}
            for finding in found
        ],
    }
    with path.open("w", encoding="ascii") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "files": [')
        for number, row in enumerate(_rows(examination, found)):
            file.write(f"{',' if number else ''}\n  {json.dumps(row)}")
        file.write("\n ]\n}\n")


def _rows(examination: Examination, found: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    """A line of the manifest for each file."""
    told: dict[str, dict[str, str]] = {}
    for finding in found:
        if finding.name:
            for file, detail in finding.files.items():
                told.setdefault(file, {})[finding.name] = detail
    parts = split(examination.files, examination.hashes)
    for file, digest, seen, part in zip(
        examination.files, examination.hashes, examination.inspections, parts, strict=True
    ):
        yield {
            "file": file,
            "use": "used",
            "part": str(part),
            "kind": seen.kind,
            "width": seen.width,
            "height": seen.height,
            "sha256": digest,
            "findings": told.get(file, {}),
        }
    for use, files in (("left out", examination.left_out), ("passed over", examination.passed_over)):
        yield from ({"file": file, "use": use, "reason": reason} for file, reason in files)
