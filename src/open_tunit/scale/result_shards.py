"""Results in WebDataset shards, OUT/000000.tar and so on, as `tunit shard` writes them: each number whole or absent."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from itertools import count
from pathlib import Path

from open_tunit.data.scan import content_hash
from open_tunit.data.sharding import pack
from open_tunit.data.shards import INDEX, TAR, Index, index_text, shard_name
from open_tunit.files import json_objects, naming
from open_tunit.scale.storage import Storage

MADE_BY = {"made_by": "tunit translate"}
"""In the index of each, which tells our shards from others under the same names."""
NAME = re.compile(r"(\d{6,})(\.tar|\.json)")


def put_shard(out: Storage, number: int, folder: Path, files: Iterable[str], *, first: int = 0) -> str:
    """Pack files of a folder into a shard of `out`, in place of the one that may be there; returns its name.

    The index is there first: no shard of ours lies without what tells that it is. Raises OSError.
    """
    name = shard_name(number)
    with tempfile.TemporaryDirectory() as spare:
        shard = Path(spare) / name
        with naming(shard):  # where a full disk refuses it
            samples = pack(shard, ((file, (folder / file).read_bytes()) for file in files), first=first)
        text = index_text(Index(samples, []), shard.stat().st_size, sha256=content_hash(shard), **MADE_BY)
        out.write_text(_index(name), text)
        out.store(shard, name)
    return name


def numbers_of(outputs: Iterable[str]) -> set[int]:
    """The numbers of the shards that outputs lie in; none of outputs that are files."""
    found = (NAME.fullmatch(output.partition("/")[0]) for output in outputs)
    return {int(match[1]) for match in found if match is not None and match[2] == TAR}


def unused(numbers: Collection[int]) -> Iterator[int]:
    """The numbers that are left, ascending."""
    return (number for number in count() if number not in numbers)


def taken(out: Storage) -> str | None:
    """A file of `out` that has the name of a shard or of its index, if there is one."""
    return next((name for name in out.files() if NAME.fullmatch(name)), None)


def finish(out: Storage, numbers: Collection[int]) -> None:
    """Leave the shards of these numbers alone, with empty ones between them; nothing of ours after the last.

    What was written and is in no line of the manifest, as by a command that was killed, is thereby gone.
    Raises OSError.
    """
    for number in range(max(numbers)):
        if number not in numbers:
            put_shard(out, number, Path(), ())
    files = set(out.files())
    for index in sorted(files):
        match = NAME.fullmatch(index)
        if match is not None and match[2] == INDEX and int(match[1]) > max(numbers) and _is_ours(out, index):
            shard = match[1] + TAR
            out.delete([name for name in (shard, index) if name in files])  # the index last: it tells whose they are


def _index(shard: str) -> str:
    return shard.removesuffix(TAR) + INDEX


def _is_ours(out: Storage, index: str) -> bool:
    return MADE_BY.items() <= next(json_objects([out.read_text(index)]), {}).items()
