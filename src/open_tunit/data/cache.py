"""Decoded images, uint8, on disk: made once, mapped into memory, shared by runs, safe to delete."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.cache_format import Place, Row, Stat
from open_tunit.data.decoding import Progress, listing, produced, read_row, workers
from open_tunit.data.inspection import Inspection
from open_tunit.data.scan import scan

_Pixels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """Images as squares, in the order of their paths."""

    images: np.memmap[tuple[int, ...], np.dtype[np.uint8]]
    """(N, S, S, 3), read-only."""
    files: tuple[str, ...]
    """N POSIX paths relative to the folder."""
    hashes: tuple[str, ...]
    """N hexadecimal SHA-256 of the files' contents (of the pixels, for generated images)."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of each file left out, by `scan` or because it cannot be decoded."""
    inspections: tuple[Inspection | None, ...] = ()
    """N, of what else is known; None of generated images."""
    passed_over: tuple[tuple[str, str], ...] = ()
    """Path and reason of what is no picture to `scan`."""


def default_cache_root() -> Path:
    """$XDG_CACHE_HOME/open-tunit, or ~/.cache/open-tunit."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "open-tunit"


def build_store(
    folder: str | os.PathLike[str],
    size: int,
    fit: str,
    background: str,
    cache_root: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Store:
    """The images of `folder` as squares of side `size` (see `images.fit`), decoded unless the cache has them.

    A file is decoded again when path, size or times (of modification and of the entry) and its content have changed,
    and one that could not be read for now is tried again. The cache keeps one version of a folder. `progress` gets the
    number done and the total, after each. Raises what `scan` does, and ValueError when no file is readable or the
    cache cannot be written.
    """
    root = Path(folder)
    left_out: list[tuple[str, str]] = []
    passed_over: list[tuple[str, str]] = []

    def leave_out(file: str, reason: str) -> None:
        left_out.append((file, reason))

    found = scan(root, left_out=leave_out, passed_over=lambda file, reason: passed_over.append((file, reason)))
    listed = listing(root, found, leave_out)
    place = Place(root_of(cache_root), ["folder", str(root.resolve()), fit, background], size)

    def rows() -> Iterator[Row]:
        former = place.former()
        read = functools.partial(read_row, root, size=size, fit=fit, background=background, former=former)
        yield from produced(listed, read, workers(), progress)

    store = _cached(place, listed, rows(), str(root))
    unreadable = tuple(sorted((*store.unreadable, *left_out)))
    return dataclasses.replace(store, unreadable=unreadable, passed_over=tuple(passed_over))


def build_generated_store(
    key: str,
    count: int,
    size: int,
    render: Callable[[int], _Pixels],
    cache_root: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Store:
    """The images that `render(index)`, uint8 (size, size, 3), draws for index 0 to `count` - 1, cached under `key`.

    `key` must change whenever the drawings do. Files are called 000000, 000001, ... Raises ValueError when the cache
    cannot be written.
    """

    def draw(name: str, stat: Stat) -> Row:
        pixels = np.ascontiguousarray(render(int(name)))
        return Row(name, stat, pixels, hashlib.sha256(pixels.tobytes()).hexdigest())

    listed: list[tuple[str, Stat]] = [(f"{index:06d}", ()) for index in range(count)]
    rows = produced(listed, draw, 1, progress)  # many small NumPy calls, which hold the interpreter's lock
    return _cached(Place(root_of(cache_root), ["generated", key, count], size), count, rows, key)


def forget_pages(images: NDArray[np.uint8]) -> None:
    """Take what was read of a store's images out of this process's memory; it comes back from the file when read."""
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def root_of(cache_root: str | os.PathLike[str] | None) -> Path:
    """The folder of the cache that was asked for; of the default one where none was."""
    return default_cache_root() if cache_root is None else Path(cache_root).expanduser()


def _cached(place: Place, listing: object, rows: Iterator[Row], title: str) -> Store:
    version = place.load(listing)
    if version is None or any(transient for *_, transient in version.unreadable):
        with _writing(place.root):
            place.write(listing, rows, title)
        version = place.load(listing)
    if version is None:
        raise ValueError(f"{place.folder} changed while it was read; is another program writing to the cache?")
    files, _, hashes, inspections = zip(*version.rows, strict=True)
    unreadable = tuple((file, reason) for file, _, reason, _ in version.unreadable)
    return Store(version.pixels, files, hashes, unreadable, inspections)


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"the cache {root} cannot be written ({reason}); name another folder by XDG_CACHE_HOME, or --set cache=DIR"
        ) from error
