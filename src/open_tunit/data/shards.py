"""WebDataset shards: tar files of pictures, an index beside each that tells where they lie, read here or anywhere."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from open_tunit.data.scan import SUFFIXES
from open_tunit.files import write_text_atomic
from open_tunit.media.encoded import Encoded
from open_tunit.media.images import UnreadableImage, header_size
from open_tunit.urls import file_system, is_url

FORMAT = 1
TAR, INDEX = ".tar", ".json"
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 1_000_000
"""Of one pattern: what is above is a slip of the hand, and fills the memory."""
WORKERS = 8
"""Indices that are read at the same time."""
TRIES, PAUSE_SECONDS = 3, 1.0
"""To read from a URL, and between them, each time twice as long."""
VERSIONS = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "last_modified", "created")
"""What file systems call that which changes with a file."""
DAMAGE = (ValueError, TypeError, LookupError, EOFError, OverflowError, RecursionError)
"""What reading damaged tar files and indices raises."""


class Sample(NamedTuple):
    """A picture's bytes in a shard."""

    file: str
    """What it was called, a relative POSIX path."""
    offset: int
    length: int
    digest: str
    """SHA-256 of the bytes, hexadecimal."""


class Index(NamedTuple):
    """What a shard holds."""

    samples: list[Sample]
    unreadable: list[tuple[str, str]]
    """Files that were left out, or are no pictures, with the reason."""


def is_shards(data: str) -> bool:
    """Whether `data` names shards: a tar file, or several by `{000000..000099}`."""
    return data.endswith(TAR)


def expand(pattern: str) -> list[str]:
    """The shards that a pattern names, in order: each `{first..last}` counts.

    Raises ValueError where one goes down, and for more than MOST_SHARDS.
    """
    count = math.prod(int(last) - int(first) + 1 for first, last in RANGE.findall(pattern))
    if count > MOST_SHARDS:
        raise ValueError(f"{pattern} names {count:,} shards; at most {MOST_SHARDS:,} are read")
    found = RANGE.search(pattern)
    if found is None:
        return [str(Path(pattern).expanduser()) if not is_url(pattern) else pattern]
    first, last = found[1], found[2]
    if int(last) < int(first):
        raise ValueError(f"{pattern} counts from {first} down to {last}; expected {{{last}..{first}}}")
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [name for number in numbers for name in expand(pattern[: found.start()] + number + pattern[found.end() :])]


def pattern_of(place: str, count: int) -> str:
    """The pattern that names the `count` shards that we write into a folder or URL."""
    return f"{place}/{shard_name(0)}" if count == 1 else f"{place}/{{{0:06d}..{count - 1:06d}}}{TAR}"


def shard_name(number: int) -> str:
    """What we call a shard."""
    return f"{number:06d}{TAR}"


def read_indices(pattern: str, cache_root: Path) -> list[tuple[str, Index]]:
    """The shards that a pattern names, each with its index. Raises what `expand` and `read_index` do."""
    shards = expand(pattern)
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(zip(shards, pool.map(lambda shard: read_index(shard, cache_root), shards), strict=True))


def read_index(shard: str, cache_root: Path) -> Index:
    """The index beside a shard; where there is none, made by reading the shard once, and kept in the cache.

    A URL that tells of no version is read each time.

    Raises FileNotFoundError for a shard that is not there, ValueError for what is no tar file, or not the one that was
    indexed, OSError where it cannot be read.
    """
    length, version = _stat(shard)
    beside = _read_text(shard.removesuffix(TAR) + INDEX)
    if beside is not None:
        index, indexed = _parsed(beside, shard)
        if indexed != length:
            raise ValueError(f"{shard} has {length} bytes, and {indexed} by its index; copy or make it anew")
        return index
    if version is None:
        return _scanned(shard, length)
    kept = cache_root / f"shard-{hashlib.sha256(json.dumps([shard, length, version]).encode()).hexdigest()}{INDEX}"
    if kept.is_file():
        return _parsed(kept.read_text(encoding="utf-8"), str(kept))[0]
    index = _scanned(shard, length)
    cache_root.mkdir(parents=True, exist_ok=True)
    write_text_atomic(kept, index_text(index, length))
    return index


def index_text(index: Index, length: int, **more: Any) -> str:
    """What the file beside a shard of `length` bytes holds."""
    values = {"format_version": FORMAT, "bytes": length, **more, **index._asdict()}
    return json.dumps(values) + "\n"


def read_sample(shard: str, sample: Sample) -> bytes:
    """The bytes of a picture. Raises OSError where they cannot be read, UnreadableImage for others than indexed."""
    data = read_range(shard, sample.offset, sample.length)
    if hashlib.sha256(data).hexdigest() != sample.digest:
        raise UnreadableImage(f"{shard}: {sample.file}", "has other bytes than when it was indexed")
    return data


def read_range(path: str, offset: int, length: int) -> bytes:
    """Part of a file, or of what a URL names. Raises OSError."""
    if not is_url(path):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
    system, place = file_system(path)
    return bytes(_tried(path, lambda: system.cat_file(place, start=offset, end=offset + length)))


class _Checked:
    """A file that is read by lengths that it tells itself: a damaged one tells of more than it has."""

    def __init__(self, path: str, file: BinaryIO, length: int) -> None:
        self.path, self.file, self.most = path, file, max(length, tarfile.BLOCKSIZE)
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next bytes. Raises ReadError for more than there are, OSError."""
        if not 0 <= size <= self.most:
            raise tarfile.ReadError(f"{size} bytes at {self.tell()}, of {self.most}")
        return bytes(_tried(self.path, lambda: self.file.read(size)))


def _scanned(shard: str, length: int) -> Index:
    """The pictures in a shard of `length` bytes, each read once."""
    index = Index([], [])
    try:
        with (
            _open(shard) as file,
            tarfile.open(fileobj=cast(BinaryIO, _Checked(shard, file, length)), mode="r:") as tar,
        ):
            for member in filter(_is_picture, _members(tar)):
                try:
                    data = _bytes_of(tar, member)
                except UnreadableImage as error:
                    index.unreadable.append((member.name, error.reason))
                    continue
                digest = hashlib.sha256(data).hexdigest()
                index.samples.append(Sample(member.name, member.offset_data, member.size, digest))
    except (tarfile.TarError, *DAMAGE) as error:
        raise ValueError(f"{shard} is no tar file, or a damaged one: {error}") from error
    return index


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """What a tar holds. Raises ReadError also where tarfile goes back, or ends at a damaged header as at the end."""
    for member in tar:
        if member.size < 0 or tar.offset <= member.offset:
            raise tarfile.ReadError(f"{member.name}, at {member.offset}, has a length below zero")
        yield member
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if any(tar.fileobj.read(tarfile.BLOCKSIZE) + tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at {tar.offset}")


def _is_picture(member: tarfile.TarInfo) -> bool:
    return member.isfile() and Path(member.name).suffix.lower() in SUFFIXES


def _bytes_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Raises UnreadableImage for what is no picture, or does not lie in one piece."""
    if member.issparse():
        raise UnreadableImage(member.name, "is a sparse file, whose bytes do not lie in one piece")
    opened = tar.extractfile(member)
    assert opened is not None
    data = opened.read()
    header_size(Encoded(data, member.name))
    return data


def _parsed(text: str, name: str) -> tuple[Index, int]:
    """An index, and its shard's length in bytes."""
    try:
        values = json.loads(text)
        version = int(values["format_version"])
        if version <= FORMAT:
            length = int(values["bytes"])
            rows = ((str(file), int(at), int(size), str(digest)) for file, at, size, digest in values["samples"])
            samples = [Sample(*row) for row in rows]
            if any(
                sample.offset < 0 or sample.length < 0 or sample.offset + sample.length > length for sample in samples
            ):
                raise ValueError(f"a sample lies outside the {length} bytes")
            return Index(samples, [(str(file), str(reason)) for file, reason in values["unreadable"]]), length
    except DAMAGE as error:
        raise ValueError(f"the index of {name} is damaged; delete it, or make the shard anew") from error
    raise ValueError(f"the index of {name} has format_version {version}, newer than {FORMAT}; upgrade open-tunit")


def _tried(url: str, read: Callable[[], Any]) -> Any:
    """What `read` gives, after several tries where need be. Raises OSError."""
    for attempt in range(TRIES):
        try:
            return read()
        except FileNotFoundError:
            raise
        except Exception as error:  # each file system has its own
            if attempt == TRIES - 1:
                raise OSError(f"{url} cannot be read: {' '.join(str(error).split())}") from error
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise AssertionError


def _open(path: str) -> BinaryIO:
    if not is_url(path):
        return open(path, "rb")
    system, place = file_system(path)
    opened: BinaryIO = _tried(path, lambda: system.open(place, "rb"))
    return opened


def _stat(path: str) -> tuple[int, str | None]:
    """How long it is, and what changes when it does, if that is known. Raises FileNotFoundError, OSError."""
    try:
        if not is_url(path):
            found = Path(path).stat()
            return found.st_size, str(found.st_mtime_ns)
        system, place = file_system(path)
        about = _tried(path, lambda: system.info(place))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; expected a tar file") from error
    if about.get("size") is None:
        raise OSError(f"{path} does not tell its length, without which no part of it can be read")
    version = next((about[key] for key in VERSIONS if about.get(key)), None)
    return int(about["size"]), None if version is None else str(version)


def _read_text(path: str) -> str | None:
    try:
        if not is_url(path):
            return Path(path).read_text(encoding="utf-8", errors="replace")
        system, place = file_system(path)
        return bytes(_tried(path, lambda: system.cat_file(place))).decode(errors="replace")
    except FileNotFoundError:
        return None
