"""Where pictures come from and results go: a folder, or a URL of a kind that fsspec knows (s3://, gs://, ...)."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from open_tunit.files import naming, write_atomic, write_text_atomic
from open_tunit.urls import file_system, is_url


@dataclasses.dataclass(frozen=True)
class Storage:
    """Files under a folder or URL, named by relative POSIX paths."""

    place: str

    @classmethod
    def of(cls, place: str) -> Storage:
        """A folder is made absolute, for processes that run elsewhere. Raises ModuleNotFoundError without fsspec."""
        if not is_url(place):
            return cls(str(Path(place).expanduser().absolute()))
        import fsspec  # noqa: F401

        return cls(place.rstrip("/"))

    def __str__(self) -> str:
        return self.place

    @property
    def folder(self) -> Path | None:
        """The folder, where it is none of a URL."""
        return None if is_url(self.place) else Path(self.place)

    def files(self, below: str = "") -> list[str]:
        """All files, sorted, in the folder `below` alone where it is given; none where there is no such folder."""
        if self.folder is not None:
            found = (path for path in (self.folder / below).rglob("*") if path.is_file())
            return sorted(path.relative_to(self.folder).as_posix() for path in found)
        with self._system() as (system, root):
            return sorted(path[len(root) :].lstrip("/") for path in system.find(f"{root}/{below}".rstrip("/")))

    def read_text(self, name: str) -> str:
        """A file's text, bytes that are none replaced; empty where there is no file."""
        try:
            if self.folder is not None:
                return (self.folder / name).read_text(encoding="utf-8", errors="replace")
            with self._system() as (system, root):
                return bytes(system.cat_file(f"{root}/{name}")).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def write_text(self, name: str, text: str) -> None:
        """Write a file, in a folder atomically, as object stores do. Raises OSError."""
        if self.folder is not None:
            path = self.folder / name
            with naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(path, text)
            return
        with self._system() as (system, root):
            parent, _, _ = f"{root}/{name}".rpartition("/")
            system.makedirs(parent, exist_ok=True)
            system.pipe_file(f"{root}/{name}", text.encode())

    def delete(self, names: Sequence[str]) -> None:
        """Delete files. Raises OSError."""
        for name in names:
            if self.folder is not None:
                (self.folder / name).unlink(missing_ok=True)
            else:
                with self._system() as (system, root):
                    system.rm_file(f"{root}/{name}")

    def fetch(self, name: str, target: Path) -> None:
        """Copy a URL's file to `target`. Raises FileNotFoundError, OSError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._system() as (system, root):
            system.get_file(f"{root}/{name}", str(target))

    def store(self, source: Path, name: str) -> None:
        """Copy the file `source` to `name`, in a folder atomically, as object stores do. Raises OSError."""
        if self.folder is not None:
            write_atomic(self.folder / name, lambda temporary: shutil.copyfile(source, temporary))
            return
        with self._system() as (system, root):
            parent, _, _ = f"{root}/{name}".rpartition("/")
            system.makedirs(parent, exist_ok=True)
            system.put_file(str(source), f"{root}/{name}")

    @contextmanager
    def _system(self) -> Iterator[tuple[Any, str]]:
        """The URL's file system and place; refusals within become OSErrors that name it: each system has its own."""
        system, root = file_system(self.place)
        try:
            yield system, root.rstrip("/")
        except FileNotFoundError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{self.place}: {reason}") from error
