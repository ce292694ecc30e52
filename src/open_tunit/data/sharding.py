"""A folder of pictures as WebDataset shards: their own bytes in tar files, whatever reads those."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from open_tunit.data.scan import content_hash, scan
from open_tunit.data.shards import FORMAT, INDEX, Index, Sample, index_text, pattern_of, shard_name
from open_tunit.files import read_json, write_atomic, write_text_atomic
from open_tunit.media.encoded import Encoded
from open_tunit.media.images import UnreadableImage, read_image

MANIFEST = "manifest.json"
SHARD_NAME = re.compile(r"\d{6,}\.tar")
AT_ONCE, WORKERS = 64, 8
"""Pictures in memory, and threads that read them."""
Progress = Callable[[int, int], None]


class Written(NamedTuple):
    """What `write_shards` left."""

    pattern: str
    """Names all shards, as `train --data` takes it."""
    images: int
    unreadable: list[tuple[str, str]]


def write_shards(
    folder: Path, out: Path, *, per_shard: int = 1000, progress: Progress = lambda done, total: None
) -> Written:
    """Write the pictures of `folder`, in the order of their paths, into `out`/000000.tar and so on.

    A sample is a picture's own bytes and a JSON of its path and SHA-256. Beside each shard lies its index, and in
    manifest.json the shards' checksums. What cannot be decoded is left out. Begun again, it goes on: a shard whose
    files are unchanged is kept. `progress` gets the shards done and their number. Raises ValueError, for `out` of
    another folder's shards too, FileNotFoundError, OSError.
    """
    if per_shard < 1:
        raise ValueError(f"{per_shard} images per shard; expected at least 1")
    left_out: list[tuple[str, str]] = []
    files = scan(folder, left_out=lambda file, reason: left_out.append((file, reason)))
    _claim(out, folder, per_shard)
    shards: list[dict[str, Any]] = []
    unreadable = list(left_out)
    parts = _parts(files, per_shard)
    for number, part in enumerate(parts):
        shard = out / shard_name(number)
        about = _kept(shard, folder, part) or _written(shard, folder, part, number * per_shard)
        kept = {name: about[name] for name in ("bytes", "sha256")}
        shards.append({"file": shard.name, "images": len(about["samples"]), **kept})
        unreadable += [(file, reason) for file, reason in about["unreadable"]]
        progress(number + 1, len(parts))
    before = read_json(out / MANIFEST)
    for stale in _listed(before) - {about["file"] for about in shards}:
        (out / stale).with_suffix(INDEX).unlink(missing_ok=True)
        (out / stale).unlink(missing_ok=True)
    images = sum(about["images"] for about in shards)
    finished = {"images": images, "shards": shards, "unreadable": unreadable}
    write_text_atomic(out / MANIFEST, json.dumps({**before, **finished}, indent=1) + "\n")
    return Written(pattern_of(str(out), len(shards)), images, unreadable)


def pack(shard: Path, pictures: Iterable[tuple[str, bytes]], *, first: int) -> list[Sample]:
    """Write pictures, path and bytes each, into a tar; returns where they lie. Samples are numbered from `first`.

    The same pictures make the same bytes. Raises OSError.
    """
    samples = []
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (file, data) in enumerate(pictures, start=first):
            name, digest = f"{number:09d}", hashlib.sha256(data).hexdigest()
            offset = _add(tar, name + Path(file).suffix.lower(), data)
            _add(tar, f"{name}.json", json.dumps({"file": file, "sha256": digest}).encode())
            samples.append(Sample(file, offset, len(data), digest))
    return samples


def _parts(files: Sequence[str], count: int) -> list[Sequence[str]]:
    return [files[first : first + count] for first in range(0, len(files), count)]


def _listed(manifest: dict[str, Any]) -> set[str]:
    """The shards that a manifest lists, by names that are ours: it may be anyone's."""
    return {about["file"] for about in manifest.get("shards", ()) if SHARD_NAME.fullmatch(str(about["file"]))}


def _claim(out: Path, folder: Path, per_shard: int) -> None:
    """Begin a folder of shards, or go on with it."""
    about = {"format_version": FORMAT, "folder": str(folder.resolve()), "per_shard": per_shard}
    if out.is_dir() and any(out.iterdir()):
        known = read_json(out / MANIFEST)
        different = next((name for name, value in about.items() if known.get(name) != value), None)
        if different is not None:
            ours = different in known
            there = f"{different} {known[different]} there, {about[different]} here" if ours else "no shards of ours"
            raise ValueError(f"{out} holds other files ({there}); name another folder")
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomic(out / MANIFEST, json.dumps(about, indent=1) + "\n")


def _kept(shard: Path, folder: Path, part: Sequence[str]) -> dict[str, Any] | None:
    """What is known of a shard that is there already, of just these files."""
    about = read_json(shard.with_suffix(INDEX))
    whole = shard.is_file() and shard.stat().st_size == about.get("bytes")
    return about if whole and about.get("source") == _source(folder, part) else None


def _source(folder: Path, part: Sequence[str]) -> str:
    """A hash of the files' names, sizes and times of modification."""
    stats = ((file, (folder / file).stat()) for file in part)
    listed = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _written(shard: Path, folder: Path, part: Sequence[str], first: int) -> dict[str, Any]:
    source, index = _source(folder, part), Index([], [])

    def write(path: Path) -> None:
        index.samples.extend(pack(path, _pictures(folder, part, index.unreadable), first=first))

    write_atomic(shard, write)
    text = index_text(index, shard.stat().st_size, sha256=content_hash(shard), source=source)
    write_text_atomic(shard.with_suffix(INDEX), text)
    return dict(json.loads(text))


def _pictures(folder: Path, part: Sequence[str], unreadable: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    def read(file: str) -> tuple[str, bytes | str]:
        try:
            data = (folder / file).read_bytes()
            read_image(Encoded(data, file))
        except UnreadableImage as error:
            return file, error.reason
        except OSError as error:
            return file, f"cannot be read: {error.strerror or error}"
        return file, data

    with ThreadPoolExecutor(WORKERS) as pool:
        for some in _parts(part, AT_ONCE):
            for file, data in pool.map(read, some):
                if isinstance(data, bytes):
                    yield file, data
                else:
                    unreadable.append((file, data))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a file; returns where its bytes begin."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    offset = tar.offset + len(member.tobuf(tar.format or tarfile.USTAR_FORMAT))
    tar.addfile(member, io.BytesIO(data))
    return offset
