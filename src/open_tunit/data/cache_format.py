"""The decoded images of one folder on disk: written whole, one version at a time, rows taken from the former one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.inspection import Inspection

FORMAT = 3
INDEX, PIXELS = "index.json", "images.uint8"
BUILDING, STALE_SECONDS = ".building-", 3600
"""How names of unfinished versions begin, and for how long nothing is written to those of killed processes."""
Stat = tuple[int, ...]
"""Of a file: size, and times of modification and of change of its entry, in ns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one file."""

    file: str
    stat: Stat
    pixels: NDArray[np.uint8] | None
    """(S, S, 3), or None where it could not be read."""
    text: str
    """Hexadecimal SHA-256 of the content, or the reason why there are no pixels."""
    inspection: Inspection | None = None
    """None where it could not be read, or was drawn and not read."""
    transient: bool = False
    """Whether it may be readable another time."""


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """The images of a folder as it was at one time."""

    pixels: np.memmap[tuple[int, ...], np.dtype[np.uint8]]
    """(N, S, S, 3), read-only."""
    rows: list[tuple[str, Stat, str, Inspection | None]]
    """N files with their stat, hash, and what else is known of them."""
    unreadable: list[tuple[str, Stat, str, bool]]
    """Files with stat, reason, and whether it may pass."""

    def row(self, file: str, stat: Stat) -> Row | None:
        """What is known of an unchanged file."""
        index = self._by_file.get((file, stat))
        if index is not None:
            return self._at(index)
        reason = self._reasons.get((file, stat))
        return None if reason is None else Row(file, stat, None, reason)

    def of_hash(self, digest: str) -> Row | None:
        """What is known of a file of this content."""
        index = self._by_hash.get(digest)
        return None if index is None else self._at(index)

    def _at(self, index: int) -> Row:
        file, stat, digest, inspection = self.rows[index]
        return Row(file, stat, self.pixels[index], digest, inspection)

    def __post_init__(self) -> None:
        places = range(len(self.rows))
        lookup: dict[str, Mapping[Any, Any]] = {
            "_by_file": {(file, stat): place for place, (file, stat, *_) in zip(places, self.rows, strict=True)},
            "_by_hash": {digest: place for place, (_, _, digest, _) in zip(places, self.rows, strict=True)},
            "_reasons": {(file, stat): reason for file, stat, reason, passing in self.unreadable if not passing},
        }
        for name, values in lookup.items():
            object.__setattr__(self, name, values)

    _by_file: Mapping[tuple[str, Stat], int] = dataclasses.field(init=False, repr=False)
    _by_hash: Mapping[str, int] = dataclasses.field(init=False, repr=False)
    _reasons: Mapping[tuple[str, Stat], str] = dataclasses.field(init=False, repr=False)


class Place:
    """Where the versions of one folder's images lie, of one size and fit; the newest replaces the others."""

    def __init__(self, root: Path, key: object, size: int) -> None:
        self.root, self.size = root, size
        self.folder = root / _digest([FORMAT, size, key])

    def load(self, listing: object) -> Version | None:
        """The version of this listing, or None when there is none or it is damaged."""
        version = _read(self.folder / _digest(listing), self.size)
        if version is not None:
            try:
                os.utime(self.folder)  # when it was last used
            except OSError:
                pass
        return version

    def former(self) -> Version | None:
        """A version of another listing, to take rows from."""
        if not self.folder.is_dir():
            return None
        found = (_read(path, self.size) for path in self.folder.iterdir())
        return next((version for version in found if version is not None), None)

    def write(self, listing: object, rows: Iterable[Row], title: str) -> None:
        """Write the version of this listing, and delete the others. Raises OSError, and what `rows` raises."""
        _sweep(self.root)
        building = self.root / f"{BUILDING}{uuid.uuid4().hex}"
        try:
            building.mkdir(parents=True)
            _write(building, rows, self.size, title)
            self._publish(building, self.folder / _digest(listing))
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _publish(self, building: Path, version: Path) -> None:
        """Give a finished version its name, unless another process was first; a corrupt one makes way."""
        self.folder.mkdir(exist_ok=True)
        existing = _read(version, self.size) if version.exists() else None
        if version.exists() and (existing is None or any(passing for *_, passing in existing.unreadable)):
            shutil.rmtree(version)
        try:
            os.rename(building, version)
        except OSError:
            if _read(version, self.size) is None:
                raise
        for other in self.folder.iterdir():
            if other != version:
                shutil.rmtree(other, ignore_errors=True)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _sweep(root: Path) -> None:
    """Delete what killed processes were building."""
    for building in root.glob(f"{BUILDING}*"):
        try:
            written = max(path.stat().st_mtime for path in (building, *building.iterdir()))
        except OSError:  # its process deletes it
            continue
        if time.time() - written > STALE_SECONDS:
            shutil.rmtree(building, ignore_errors=True)


def _write(folder: Path, rows: Iterable[Row], size: int, title: str) -> None:
    readable: list[tuple[str, Stat, str, Inspection | None]] = []
    unreadable: list[tuple[str, Stat, str, bool]] = []
    with open(folder / PIXELS, "wb") as file:
        for row in rows:
            if row.pixels is None:
                unreadable.append((row.file, row.stat, row.text, row.transient))
                continue
            assert row.pixels.shape == (size, size, 3)
            assert row.pixels.dtype == np.uint8
            readable.append((row.file, row.stat, row.text, row.inspection))
            file.write(row.pixels.tobytes())
        _sync(file)
    if not readable:
        name, _, reason, _ = unreadable[0]
        raise ValueError(f"{title} has no readable image among {len(unreadable)}; the first: {name} {reason}")
    with open(folder / INDEX, "wb") as file:
        file.write(json.dumps({"title": title, "size": size, "rows": readable, "unreadable": unreadable}).encode())
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _read(folder: Path, size: int) -> Version | None:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="ascii"))
        rows = [(str(f), tuple(stat), str(digest), Inspection.of_json(seen)) for f, stat, digest, seen in index["rows"]]
        unreadable = [(str(f), tuple(stat), str(reason), bool(may)) for f, stat, reason, may in index["unreadable"]]
        shape = (len(rows), size, size, 3)
        if (folder / PIXELS).stat().st_size != int(np.prod(shape)):
            return None
        pixels = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r", shape=shape)
        return Version(pixels, rows, unreadable)
    except (OSError, ValueError, KeyError, TypeError):
        return None
