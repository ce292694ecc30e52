"""Which image files a folder holds, and which of its pictures are left out, with the reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from open_tunit.media.reasons import BY_SUFFIX, NO_FILE

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
SIDECARS = ("@eaDir", "__MACOSX")
"""Folders that file servers and archives put beside pictures, with thumbnails of them."""
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in any folder."""
NO_PICTURE, FILE_MANAGERS = "is no picture, by its suffix", "belongs to a file manager"
LeftOut = Callable[[str, str], object]


def scan(
    folder: str | os.PathLike[str],
    suffixes: tuple[str, ...] = SUFFIXES,
    *,
    left_out: LeftOut = lambda *_: None,
    passed_over: LeftOut = lambda *_: None,
) -> tuple[str, ...]:
    """Image files at any depth: sorted POSIX paths relative to `folder`, by suffix alone, in either case.

    Hidden files and folders are skipped; linked folders are followed unless they lead back to one they lie in.
    `left_out` gets path and reason of what looks like a picture and is not taken, `passed_over` those of everything
    else that is not taken: hidden files, thumbnails, other kinds. Raises FileNotFoundError when there is no such
    folder, ValueError when it is a file, cannot be listed or holds no image.
    """
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; expected a folder of images")
    if not root.is_dir():
        raise ValueError(f"{root} is a file; expected a folder of images")
    found = _Walk(root, suffixes)
    found.through()
    for path, reason in sorted(found.left_out):
        left_out(path, reason)
    for path, reason in sorted(found.passed_over):
        passed_over(path, reason)
    if not found.files:
        skipped = found.left_out or found.passed_over
        others = f"; {len(skipped)} are left out: {' '.join(min(skipped))}" if skipped else ""
        raise ValueError(f"no images in {root}; expected files ending in {', '.join(suffixes)}{others}")
    return tuple(sorted(found.files))


def check_outside(out: str | os.PathLike[str], *folders: str | os.PathLike[str] | None) -> None:
    """Raise ValueError where `out` is, or lies in, one of the folders, and `scan` would take what is written there."""
    for folder in folders:
        if folder is None or not os.path.isdir(folder):
            continue
        for real in (os.path.abspath, os.path.realpath):  # `scan` follows links
            place, root = Path(real(out)), Path(real(folder))
            between = place.relative_to(root).parts if place.is_relative_to(root) else (".",)
            if not any(part.startswith(".") or part in SIDECARS for part in between):
                raise ValueError(f"{out} lies in {folder}, whose pictures are read; name one outside")


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
        self.passed_over: list[tuple[str, str]] = []
        self._folders: list[tuple[Path, tuple[str, ...]]] = []
        """Still to be entered, each with its real path and those of the folders around it."""

    def through(self) -> None:
        """Take in all folders. Raises ValueError where `root` cannot be listed."""
        self._folders = [(self.root, (str(self.root.resolve()),))]
        while self._folders:
            folder, ancestors = self._folders.pop()
            try:
                for entry in list(folder.iterdir()):
                    self._take(entry, ancestors)
            except OSError as error:
                if folder == self.root:
                    raise ValueError(f"{self.root} cannot be listed: {error.strerror}") from error
                self.left_out.append((self._name(folder), f"cannot be listed: {error.strerror}"))

    def _take(self, entry: Path, ancestors: tuple[str, ...]) -> None:
        if entry.name in LITTER:
            self.passed_over.append((self._name(entry), FILE_MANAGERS))
        elif entry.name.startswith("."):
            reason = "is a sidecar of macOS" if entry.name.startswith("._") else "is hidden, by the dot in its name"
            self.passed_over.append((self._name(entry), reason))
        elif entry.is_dir():
            self._folder(entry, ancestors)
        else:
            self._file(entry)

    def _folder(self, folder: Path, ancestors: tuple[str, ...]) -> None:
        if folder.name in SIDECARS:
            self.passed_over.append((self._name(folder), "holds thumbnails of the pictures beside it"))
            return
        real = str(folder.resolve()) if folder.is_symlink() else os.path.join(ancestors[-1], folder.name)
        if real in ancestors:
            self.left_out.append((self._name(folder), "is a link to a folder that it lies in"))
        else:
            self._folders.append((folder, (*ancestors, real)))

    def _file(self, file: Path) -> None:
        name, suffix = self._name(file), file.suffix.lower()
        is_picture = suffix in self.suffixes or suffix in BY_SUFFIX
        if (is_picture or not suffix) and file.is_symlink() and not file.exists():
            self.left_out.append((name, "is a link to nothing"))
        elif not is_picture:
            self.passed_over.append((name, NO_PICTURE))
        elif suffix in BY_SUFFIX:
            self.left_out.append((name, BY_SUFFIX[suffix].reason))
        elif file.is_file():
            self.files.append(name)
        else:
            self.left_out.append((name, NO_FILE))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()
