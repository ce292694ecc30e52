"""Decoded images, uint8, on disk: made once, mapped into memory, shared by runs, safe to delete."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import mmap
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from open_tunit import images
from open_tunit.data.scan import content_hash, scan

STORE_VERSION = 1
_CHUNK = 256
"""Images decoded ahead of the writing; bounds the memory."""
_MOST_WORKERS = 8

Progress = Callable[[int, int], None]
_Pixels = NDArray[np.uint8]
_Produced = tuple[str, _Pixels | None]
"""The content's hash and the pixels; or the reason why there are none, and None."""


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
    """Path and reason of each file left out."""


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

    The cache has them while paths, sizes and modification times of all image files are the same. `progress` gets the
    number done and the total, after each. Raises what `scan` does, and ValueError when no file is readable or the
    cache cannot be written.
    """
    root = Path(folder)
    files = scan(root)
    stats = [(root / file).stat() for file in files]
    listing = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, stats, strict=True)]

    def decode(index: int) -> _Produced:
        path = root / files[index]
        try:
            image = images.read_image(path, background=background, at_least=size)
            return content_hash(path), np.asarray(images.fit(image, size, fit, background))
        except images.UnreadableImage as error:
            return error.reason, None
        except OSError as error:
            return f"cannot be read: {error.strerror or error}", None

    key = ["folder", str(root.resolve()), fit, background, listing]
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)  # Pillow releases the interpreter's lock
    return _cached(key, size, _produced(files, decode, workers, progress), str(root), cache_root)


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

    def draw(index: int) -> _Produced:
        pixels = np.ascontiguousarray(render(index))
        return hashlib.sha256(pixels.tobytes()).hexdigest(), pixels

    names = [f"{index:06d}" for index in range(count)]
    produced = _produced(names, draw, 1, progress)  # many small NumPy calls, which hold the interpreter's lock
    return _cached(["generated", key, count], size, produced, key, cache_root)


def forget_pages(images: NDArray[np.uint8]) -> None:
    """Take what was read of a store's images out of this process's memory; it comes back from the file when read."""
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _cached(
    key: Sequence[object],
    size: int,
    produced: Iterator[tuple[str, _Produced]],
    title: str,
    cache_root: str | os.PathLike[str] | None,
) -> Store:
    root = default_cache_root() if cache_root is None else Path(cache_root).expanduser()
    digest = hashlib.sha256(json.dumps([STORE_VERSION, size, *key]).encode()).hexdigest()
    entry = root / digest
    store = _load(entry, size)
    if store is not None:
        return store
    building = root / f".building-{uuid.uuid4().hex}"
    try:
        with _writing(root):
            building.mkdir(parents=True)
            _write(building, produced, size, title)
            _publish(building, entry, size)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    store = _load(entry, size)
    if store is None:
        raise ValueError(f"{entry} changed while it was read; is another program writing to the cache?")
    return store


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
    names: Sequence[str], produce: Callable[[int], _Produced], workers: int, progress: Progress | None
) -> Iterator[tuple[str, _Produced]]:
    """Names and results, in order, made in `workers` threads."""
    done = itertools.count(1)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(names)))
            for index, result in zip(chunk, pool.map(produce, chunk), strict=True):
                yield names[index], result
                if progress is not None:
                    progress(next(done), len(names))


def _write(folder: Path, results: Iterator[tuple[str, _Produced]], size: int, title: str) -> None:
    readable: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    with open(folder / "images.uint8", "wb") as file:
        for name, (text, pixels) in results:
            if pixels is None:
                unreadable.append((name, text))
                continue
            assert pixels.shape == (size, size, 3)
            assert pixels.dtype == np.uint8
            readable.append((name, text))
            file.write(pixels.tobytes())
        _sync(file)
    if not readable:
        name, reason = unreadable[0]
        raise ValueError(f"{title} has no readable image among {len(unreadable)}; the first: {name} {reason}")
    names, hashes = zip(*readable, strict=True)
    with open(folder / "index.json", "wb") as file:
        file.write(json.dumps({"files": names, "hashes": hashes, "unreadable": unreadable}).encode())
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(building: Path, entry: Path, size: int) -> None:
    """Gives a finished entry its name, unless another process was first; a corrupt entry makes way."""
    if entry.exists() and _load(entry, size) is None:
        shutil.rmtree(entry)
    try:
        os.rename(building, entry)
    except OSError:
        if _load(entry, size) is None:
            raise


def _load(entry: Path, size: int) -> Store | None:
    """The store in `entry`, or None when there is none or it is damaged."""
    try:
        index = json.loads((entry / "index.json").read_text(encoding="ascii"))
        files, hashes = tuple(index["files"]), tuple(index["hashes"])
        unreadable = tuple((name, reason) for name, reason in index["unreadable"])
        shape = (len(files), size, size, 3)
        pixels = entry / "images.uint8"
        if len(hashes) != len(files) or pixels.stat().st_size != int(np.prod(shape)):
            return None
        return Store(np.memmap(pixels, dtype=np.uint8, mode="r", shape=shape), files, hashes, unreadable)
    except (OSError, ValueError, KeyError, TypeError):
        return None
