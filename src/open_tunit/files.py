"""Files that are either whole or absent: write beside, flush to the disk, rename; and reading what others left."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Target = str | os.PathLike[str]
SHOWN_OF_NAME = 40
"""Characters of a file's name in its temporary file's, which must not become too long."""
CANNOT_FLUSH_FOLDERS = (errno.EBADF, errno.EINVAL, errno.EACCES, errno.EROFS)
"""What fsync of a folder may give: not on Windows, nor on some network file systems."""

TEMPORARY = re.compile(r"\..*\.tunit-[a-z0-9_]{8}(\..*)?", re.DOTALL)
"""Names of temporary files."""
STALE_SECONDS = 60
"""For which nothing is written to a temporary file that a killed process left."""
PROBED_BYTES = 65_536
"""That a full disk has no room for."""
SYSTEMS_NUMBER = re.compile(r"\(os error (\d+)\)")
"""In the messages of what is written in Rust."""


def write_atomic(path: Target, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` at once.

    A crash leaves the old file, or none; never half a new one. Raises what `write` raises; where the system refused
    the bytes, as on a full disk, OSError with its reason and the name `path`.
    """
    target = Path(path)
    prefix = f".{target.name[:SHOWN_OF_NAME]}.tunit-"
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix[:SHOWN_OF_NAME])
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        flush_to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except BaseException as error:
        reason = _refusal(error, temporary)
        temporary.unlink(missing_ok=True)
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, str(target)) from error
    flush_to_disk(target.parent)


def write_text_atomic(path: Target, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none, or a crash left it empty or damaged."""
    try:
        return next(json_objects([path.read_text(encoding="utf-8", errors="replace")]), {})
    except (FileNotFoundError, NotADirectoryError):
        return {}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in the lines of a file; lines that a crash left half-written are passed over."""
    try:
        return list(json_objects(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    except (FileNotFoundError, NotADirectoryError):
        return []


def json_objects(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of texts, one each; texts that hold none, or half of one, are passed over."""
    for text in texts:
        try:
            values = json.loads(text)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield values


def sweep(folder: Path) -> None:
    """Delete the temporary files below `folder` that killed processes left."""
    for path in folder.rglob(".*"):
        with suppress(OSError):  # it is there no more, or not ours to delete
            if TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


@contextmanager
def naming(path: Target) -> Iterator[None]:
    """The system's refusal within names the file `path`, where it names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


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


def _refusal(error: BaseException, temporary: Path) -> OSError | None:
    """Why the system refused the bytes, which torch's and safetensors' writers do not tell; None where it did not."""
    if isinstance(error, OSError) and error.errno is not None:
        return error if error.filename in (None, str(temporary)) else None
    if not isinstance(error, Exception):
        return None
    number = SYSTEMS_NUMBER.search(str(error))
    if number is not None:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    try:
        with temporary.open("ab") as file:
            file.write(bytes(PROBED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refused:
        return refused
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
