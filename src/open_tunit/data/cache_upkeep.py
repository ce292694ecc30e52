"""What the cache holds, and making it smaller: everything in it can be made again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from open_tunit.data.cache_format import INDEX


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file or folder of the cache."""

    path: Path
    title: str
    """The folder whose images it holds, or its own name."""
    bytes: int
    used: float
    """When it was last used or written, in seconds since 1970."""


def entries(root: Path) -> list[Entry]:
    """What the cache holds, last used first; what cannot be looked at is left out."""
    found = []
    for path in root.iterdir() if root.is_dir() else ():
        try:
            files = [path, *path.rglob("*")] if path.is_dir() else [path]
            size = sum(file.lstat().st_size for file in files if file.is_file())
            found.append(Entry(path, _title(path), size, path.lstat().st_mtime))
        except OSError:  # another process deletes it
            continue
    return sorted(found, key=lambda entry: -entry.used)


def shrink(root: Path, most_bytes: int) -> list[Entry]:
    """Delete what was not used for the longest time until at most so many bytes are left; returns what is gone.

    A running training keeps what it has open. Raises OSError where the system does not let go of it.
    """
    kept, gone = entries(root), []
    while kept and sum(entry.bytes for entry in kept) > most_bytes:
        last = kept.pop()
        if last.path.is_dir():
            shutil.rmtree(last.path)
        else:
            last.path.unlink()
        gone.append(last)
    return gone


def _title(path: Path) -> str:
    index = next(iter(path.glob(f"*/{INDEX}")), None) if path.is_dir() else None
    if index is None:
        return path.name
    try:
        values = json.loads(index.read_text(encoding="ascii"))
        return f"{values['title']} at {values['size']} px, {len(values['rows'])} images"
    except (OSError, ValueError, KeyError, TypeError):
        return path.name
