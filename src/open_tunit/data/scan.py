"""Which image files a folder holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


def scan(folder: str | os.PathLike[str], suffixes: tuple[str, ...] = SUFFIXES) -> tuple[str, ...]:
    """Image files at any depth: sorted POSIX paths relative to `folder`, by suffix alone, in either case.

    Hidden files and folders are skipped; linked folders are followed unless they lead back to one they lie in.
    Raises FileNotFoundError when there is no such folder, ValueError when it is a file, cannot be listed or holds
    no image.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; expected a folder of images")
    if not root.is_dir():
        raise ValueError(f"{root} is a file; expected a folder of images")
    files = tuple(sorted(path.relative_to(root).as_posix() for path in _walk(root, (root.resolve(),), suffixes)))
    if not files:
        raise ValueError(f"no images in {root}; expected files ending in {', '.join(suffixes)}")
    return files


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hexadecimal. Raises OSError when it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(folder: Path, ancestors: tuple[Path, ...], suffixes: tuple[str, ...]) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = entry.resolve()
            if real not in ancestors:
                yield from _walk(entry, (*ancestors, real), suffixes)
        elif entry.suffix.lower() in suffixes and entry.is_file():
            yield entry
