"""Files that are either whole or absent: write beside, flush to the disk, rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Target = str | os.PathLike[str]


def write_atomic(path: Target, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` at once.

    A crash leaves the old file, or none; never half a new one. Raises what `write` raises, and OSError.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_to_disk(target.parent)


def write_text_atomic(path: Target, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
