"""Decoded images, uint8, on disk: made once, mapped into memory, shared by runs, safe to delete."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.cache_format import Place, Row, Stat
from open_tunit.data.scan import content_hash, scan
from open_tunit.media import images

_CHUNK = 256
"""Images decoded ahead of the writing; bounds the memory."""
_MOST_WORKERS = 8

Progress = Callable[[int, int], None]
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
    found = scan(root, left_out=lambda file, reason: left_out.append((file, reason)))
    listing = [(file, stat) for file in found if (stat := _stat(root / file, file, left_out)) is not None]
    place = Place(root_of(cache_root), ["folder", str(root.resolve()), fit, background], size)
    former = functools.cache(place.former)

    def decode(file: str, stat: Stat) -> Row:
        version = former()
        known = version.row(file, stat) if version is not None else None
        if known is not None:
            return known
        try:
            digest = content_hash(root / file)
            pixels = version.of_hash(digest) if version is not None else None
            if pixels is None:
                image = images.read_image(root / file, background=background, at_least=size)
                pixels = np.asarray(images.fit(image, size, fit, background))
            return Row(file, stat, pixels, digest)
        except images.UnreadableImage as error:
            return Row(file, stat, None, error.reason, transient=_may_pass(error.__cause__))
        except OSError as error:
            return Row(file, stat, None, f"cannot be read: {error.strerror or error}", transient=True)

    workers = min(_MOST_WORKERS, os.cpu_count() or 1)  # Pillow releases the interpreter's lock
    store = _cached(place, listing, _produced(listing, decode, workers, progress), str(root))
    return dataclasses.replace(store, unreadable=tuple(sorted((*store.unreadable, *left_out))))


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

    listing: list[tuple[str, Stat]] = [(f"{index:06d}", ()) for index in range(count)]
    produced = _produced(listing, draw, 1, progress)  # many small NumPy calls, which hold the interpreter's lock
    return _cached(Place(root_of(cache_root), ["generated", key, count], size), count, produced, key)


def forget_pages(images: NDArray[np.uint8]) -> None:
    """Take what was read of a store's images out of this process's memory; it comes back from the file when read."""
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def root_of(cache_root: str | os.PathLike[str] | None) -> Path:
    """The folder of the cache that was asked for; of the default one where none was."""
    return default_cache_root() if cache_root is None else Path(cache_root).expanduser()


def _stat(path: Path, file: str, left_out: list[tuple[str, str]]) -> Stat | None:
    try:
        found = path.stat()
    except OSError as error:
        left_out.append((file, f"cannot be read: {error.strerror or error}"))
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _may_pass(cause: BaseException | None) -> bool:
    """Whether a picture may be readable another time: the system refused its bytes, or the memory did not suffice."""
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def _cached(place: Place, listing: object, rows: Iterator[Row], title: str) -> Store:
    version = place.load(listing)
    if version is None or any(transient for *_, transient in version.unreadable):
        with _writing(place.root):
            place.write(listing, rows, title)
        version = place.load(listing)
    if version is None:
        raise ValueError(f"{place.folder} changed while it was read; is another program writing to the cache?")
    files, hashes = zip(*((file, digest) for file, _, digest in version.rows), strict=True)
    return Store(version.pixels, files, hashes, tuple((file, reason) for file, _, reason, _ in version.unreadable))


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"the cache {root} cannot be written ({reason}); name another folder by XDG_CACHE_HOME, or --set cache=DIR"
        ) from error


def _produced(
    listing: Sequence[tuple[str, Stat]], produce: Callable[[str, Stat], Row], workers: int, progress: Progress | None
) -> Iterator[Row]:
    """What became of the files, in order, made in `workers` threads."""
    done = itertools.count(1)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(listing), _CHUNK):
            for row in pool.map(lambda item: produce(*item), listing[start : start + _CHUNK]):
                yield row
                if progress is not None:
                    progress(next(done), len(listing))
