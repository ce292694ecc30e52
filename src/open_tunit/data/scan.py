"""Which image files a folder holds, and which of its pictures are left out, with the reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
NOT_READ = (
    ".3fr", ".ai", ".arw", ".avif", ".avifs", ".cr2", ".cr3", ".cur", ".dcm", ".dds", ".djvu", ".dng", ".eps",
    ".exr", ".fits", ".hdr", ".heic", ".heif", ".hif", ".icns", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl",
    ".jxr", ".nef", ".orf", ".pcx", ".pef", ".ps", ".psb", ".psd", ".qoi", ".raf", ".rw2", ".sgi", ".srw", ".svg",
    ".tga", ".wdp", ".wmf", ".xbm", ".xcf", ".xpm",
)  # fmt: skip
"""Suffixes of pictures that are not read: they are named, not passed over in silence."""
SIDECARS = ("@eaDir", "__MACOSX")
"""Folders that file servers and archives put beside pictures, with thumbnails of them."""
LeftOut = Callable[[str, str], object]


def scan(
    folder: str | os.PathLike[str], suffixes: tuple[str, ...] = SUFFIXES, *, left_out: LeftOut = lambda *_: None
) -> tuple[str, ...]:
    """Image files at any depth: sorted POSIX paths relative to `folder`, by suffix alone, in either case.

    Hidden files and folders are skipped; linked folders are followed unless they lead back to one they lie in.
    `left_out` gets path and reason of what looks like a picture and is not taken. Raises FileNotFoundError when there
    is no such folder, ValueError when it is a file, cannot be listed or holds no image.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; expected a folder of images")
    if not root.is_dir():
        raise ValueError(f"{root} is a file; expected a folder of images")
    found = _Walk(root, suffixes)
    try:
        found.enter(root, (root.resolve(),))
    except OSError as error:
        raise ValueError(f"{root} cannot be listed: {error.strerror}") from error
    for path, reason in sorted(found.left_out):
        left_out(path, reason)
    if not found.files:
        others = f"; {len(found.left_out)} are left out: {' '.join(min(found.left_out))}" if found.left_out else ""
        raise ValueError(f"no images in {root}; expected files ending in {', '.join(suffixes)}{others}")
    return tuple(sorted(found.files))


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hexadecimal. Raises OSError when it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Walk:
    """What was found below `root`."""

    def __init__(self, root: Path, suffixes: tuple[str, ...]) -> None:
        self.root, self.suffixes = root, suffixes
        self.files: list[str] = []
        self.left_out: list[tuple[str, str]] = []

    def enter(self, folder: Path, ancestors: tuple[Path, ...]) -> None:
        """Take in what a folder holds, whose real path and those of the folders around it are `ancestors`."""
        for entry in list(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                self._folder(entry, ancestors)
            else:
                self._file(entry)

    def _folder(self, folder: Path, ancestors: tuple[Path, ...]) -> None:
        name = folder.relative_to(self.root).as_posix()
        if folder.name in SIDECARS:
            self.left_out.append((name, "holds thumbnails of the pictures beside it"))
            return
        real = folder.resolve()
        if real in ancestors:
            self.left_out.append((name, "is a link to a folder that it lies in"))
            return
        try:
            self.enter(folder, (*ancestors, real))
        except OSError as error:
            self.left_out.append((name, f"cannot be listed: {error.strerror}"))

    def _file(self, file: Path) -> None:
        name, suffix = file.relative_to(self.root).as_posix(), file.suffix.lower()
        if suffix in NOT_READ:
            self.left_out.append((name, f"is of a kind that is not read ({suffix}); convert it to PNG or JPEG"))
        elif suffix in self.suffixes:
            if file.is_file():
                self.files.append(name)
            else:
                reason = "is a link to nothing" if file.is_symlink() and not file.exists() else "is no regular file"
                self.left_out.append((name, reason))
