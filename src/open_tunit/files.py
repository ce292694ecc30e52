"""Files that are either whole or absent: write beside, flush to the disk, rename."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Target = str | os.PathLike[str]
SHOWN_OF_NAME = 40
"""Characters of a file's name in its temporary file's, which must not become too long."""
CANNOT_FLUSH_FOLDERS = (errno.EBADF, errno.EINVAL, errno.EACCES, errno.EROFS)
"""What fsync of a folder may give: not on Windows, nor on some network file systems."""


def write_atomic(path: Target, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` at once.

    A crash leaves the old file, or none; never half a new one. Raises what `write` raises, and OSError.
    """
    target = Path(path)
    prefix = f".{target.name[:SHOWN_OF_NAME]}."
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix[:SHOWN_OF_NAME])
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
    """fsync a file, or a folder's list of names where the system can (Windows cannot open a folder)."""
    if path.is_dir():
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:
            return
    else:
        descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in CANNOT_FLUSH_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
