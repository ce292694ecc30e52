"""The pictures and films of a large translation: files of a folder or URL, or pictures in shards."""

from __future__ import annotations

import dataclasses
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from open_tunit.data.cache import default_cache_root
from open_tunit.data.scan import NO_PICTURE, SUFFIXES, scan
from open_tunit.data.shards import TAR, Index, Sample, expand, is_shards, read_indices, read_sample
from open_tunit.media.images import UnreadableImage
from open_tunit.media.reasons import BY_SUFFIX
from open_tunit.media.video import FILMS
from open_tunit.scale.storage import Storage
from open_tunit.translation.results import LONGEST_NAME
from open_tunit.urls import file_system, is_url

READERS = 8
"""Pictures of shards that are read at the same time."""
LONGEST_PATH = 3000
"""Bytes of a picture's path in a shard: most systems open 4,096, the folder and the result's name included."""


class Source(Protocol):
    """Where sources lie that are named by relative paths."""

    def part(self, names: Iterable[str]) -> Source:
        """What is needed to read some of them."""

    def fetched(self, names: Iterable[str], spare: Path) -> tuple[Path, dict[str, str]]:
        """The folder where they lie, `spare` where they must be copied, and those that cannot be, with the reason.

        Raises OSError where nothing can be read there.
        """


@dataclasses.dataclass(frozen=True)
class Files:
    """Files of a folder or URL."""

    storage: Storage

    def __str__(self) -> str:
        return str(self.storage)

    def part(self, names: Iterable[str]) -> Files:
        """Itself: its files are found by their names."""
        return self

    def fetched(self, names: Iterable[str], spare: Path) -> tuple[Path, dict[str, str]]:
        """The folder itself, or `spare` with a URL's files. Raises OSError."""
        if self.storage.folder is not None:
            return self.storage.folder, {}
        for name in names:
            with suppress(FileNotFoundError):  # since it was listed: reading it tells
                self.storage.fetch(name, spare / name)
        return spare, {}


class Place(NamedTuple):
    """Where a picture lies in shards."""

    shard: str
    sample: Sample | str
    """Or why there is none."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Pictures in shards."""

    pattern: str
    places: Mapping[str, Place]

    def __str__(self) -> str:
        return self.pattern

    def part(self, names: Iterable[str]) -> Samples:
        """With the places of some pictures alone."""
        return Samples(self.pattern, {name: self.places[name] for name in names})

    def fetched(self, names: Iterable[str], spare: Path) -> tuple[Path, dict[str, str]]:
        """`spare` with the pictures whose bytes are those of the index. Raises OSError."""
        unreadable: dict[str, str] = {}

        def fetch(name: str) -> None:
            shard, sample = self.places[name]
            if isinstance(sample, str):
                unreadable[name] = sample
                return
            try:
                data = read_sample(shard, sample)
            except UnreadableImage as error:
                unreadable[name] = error.reason
                return
            (spare / name).parent.mkdir(parents=True, exist_ok=True)
            (spare / name).write_bytes(data)

        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(fetch, names))
        return spare, unreadable


def sources_in(place: str) -> tuple[Source, list[str], dict[str, str]]:
    """Pictures and films of a folder, URL or shards: sorted relative paths, and what is not read though it looks so.

    A picture's own name stands for its folder with that one file. Raises FileNotFoundError, ValueError where there are
    none or a shard is damaged, OSError.
    """
    if is_shards(place):
        return _in_shards(place)
    storage, refused = Storage.of(place), dict[str, str]()
    suffixes = SUFFIXES + FILMS
    if storage.folder is not None:
        if storage.folder.is_file():
            return Files(Storage(str(storage.folder.parent))), [storage.folder.name], refused
        return Files(storage), list(scan(storage.folder, suffixes, left_out=refused.__setitem__)), refused
    shown = [name for name in storage.files() if not any(part.startswith(".") for part in name.split("/"))]
    kinds = {name: PurePosixPath(name).suffix.lower() for name in shown}
    refused = {name: BY_SUFFIX[kind].reason for name, kind in kinds.items() if kind in BY_SUFFIX}
    found = [name for name, kind in kinds.items() if kind in suffixes]
    if not found:
        raise ValueError(f"no images in {storage}; expected files ending in {', '.join(suffixes)}")
    return Files(storage), found, refused


def lies_among(target: Storage, source: str) -> bool:
    """Whether a folder or URL lies in that of the sources; in that of shards, whether it is beside them."""
    if not is_shards(source):
        return f"{_real(str(target))}/".startswith(f"{_real(source)}/")
    shards = expand(source)
    folders = {shard.rpartition("/")[0] if is_url(shard) else str(Path(shard).parent) for shard in shards}
    linked = {os.path.dirname(_real(shard)) for shard in shards}
    return _real(str(target)) in linked | set(map(_real, folders))


def _real(place: str) -> str:
    """One name for a folder or URL, however it is written: a path without links where it is of this machine."""
    if is_url(place):
        system, path = file_system(place)
        system = getattr(system, "fs", system)  # what a cache lies before
        if "file" not in (kinds := (system.protocol,) if isinstance(system.protocol, str) else system.protocol):
            return f"{kinds[0]}://{posixpath.normpath(path).lstrip('/')}"
        place = path
    return os.path.realpath(Path(place).expanduser())


def _in_shards(pattern: str) -> tuple[Source, list[str], dict[str, str]]:
    """Sorted, so that they are in the order of the folder that the shards were made of, damaged pictures in place."""
    places: dict[str, Place] = {}
    refused: dict[str, str] = {}
    found = read_indices(pattern, default_cache_root())
    shards = [(shard if is_url(shard) else str(Path(shard).absolute()), index) for shard, index in found]
    for file, name, place in _named(shards):
        flaw = _flaw(file) or _flaw(name)
        if flaw is None:
            places[name] = place
        else:
            refused[name] = flaw
    for name in [name for name in places if any(str(folder) in places for folder in PurePosixPath(name).parents)]:
        del places[name]
        refused[name] = "lies within another picture, by its name"
    if not places:
        raise ValueError(f"{pattern} has no picture")
    whole = pattern if is_url(pattern) else str(Path(pattern).expanduser().absolute())
    return Samples(whole, places), sorted(places), refused


def _named(shards: Iterable[tuple[str, Index]]) -> Iterator[tuple[str, str, Place]]:
    """What shards hold, each with a name that no other has: the file's, after the shard's where several have that.

    Where that is taken too, a number stands between them.
    """
    found: list[tuple[str, Place]] = []
    for shard, index in shards:
        found += [(PurePosixPath(sample.file).as_posix(), Place(shard, sample)) for sample in index.samples]
        found += [(PurePosixPath(file).as_posix(), Place(shard, reason)) for file, reason in index.unreadable]
    uses, taken = Counter(file for file, _ in found), set[str]()
    again = Counter[str]()
    for file, place in found:
        prefix = place.shard.replace("\\", "/").rpartition("/")[2].removesuffix(TAR)
        whole = f"{prefix}/{file}"
        name = file if uses[file] == 1 else whole
        while name in taken:
            again[whole] += 1
            name = f"{prefix}/{again[whole]}/{file}"
        taken.add(name)
        yield file, name, place


def _flaw(name: str) -> str | None:
    """Why a name from a shard, which may be anyone's, is that of no picture below a folder; None where it can be."""
    path = Path(name)
    if path.anchor or ".." in path.parts or "\0" in name:
        return "would lie outside the folder, by its name"
    if any(part.startswith(".") for part in path.parts):
        return "is hidden, by the dot in its name"
    try:
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    except UnicodeEncodeError:
        return "has a name that no file can have"
    if longest > LONGEST_NAME:
        return f"has a name of more than {LONGEST_NAME} bytes"
    if len(os.fsencode(name)) > LONGEST_PATH:
        return f"has a path of more than {LONGEST_PATH} bytes"
    return None if path.suffix.lower() in SUFFIXES else NO_PICTURE
