"""What translations are called: one file per source and reference (or domain, or sample of one)."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from open_tunit.data.scan import SUFFIXES, scan
from open_tunit.media.images import FORMATS, UnreadableImage, is_picture
from open_tunit.media.reasons import NO_FILE
from open_tunit.media.video import FILMS, WRITTEN, is_film

ALIKE = 0.75
"""How like a file's suffix (0 to 1) one is that nobody means for a folder: .pngg, .jpgg."""
LONGEST_NAME = 255
"""Bytes of a file's name on most file systems."""


class Results(NamedTuple):
    """Where translations go."""

    out: Path
    names: dict[Path, str]
    """Of the sources."""
    labels: list[str]
    """Of the references, domains or samples."""

    @property
    def is_file(self) -> bool:
        """Whether `out` is the name of the one result, not of a folder."""
        return not self.out.is_dir() and (is_picture(self.out) or self.out.suffix.lower() in WRITTEN)

    def check(self, *, overwrite: bool) -> None:
        """Raise ValueError where the results cannot be written as they are called.

        That is where `out` names a file, and the results are several or of a kind that it cannot hold; where two
        results have one name, or one has that of another's folder; and, unless they may be overwritten, where one
        exists.
        """
        self._check_kind()
        taken: dict[Path, Path] = {}
        for source in self.names:
            for position in range(len(self.labels)):
                path = self.of(source, position)
                other = taken.setdefault(path, source)
                if other != source:
                    raise ValueError(f"translations of {other} and of {source} would both be {path}; rename one")
        blocked = self.blocked()
        if blocked:
            source, path = next(iter(blocked.items()))
            raise ValueError(f"{path} would be a translation of {taken[path]} and a folder for {source}'s; rename one")
        refuse_taken(taken, overwrite)

    def blocked(self) -> dict[Path, Path]:
        """Sources whose results would lie in a folder that has another's result for its name, with that result."""
        count = range(len(self.labels))
        taken = {self.of(source, position) for source in self.names for position in count}
        folders = ((source, folder) for source in self.names for folder in self.of(source, 0).parents)
        return {source: folder for source, folder in folders if folder in taken}

    def of(self, source: Path, position: int) -> Path:
        """The file of a source translated to the reference, domain or sample at `position`."""
        if self.is_file:
            return self.out
        suffix = ".mp4" if is_film(source) else ".png"
        folders, _, name = self.names[source].rpartition("/")
        return self.out / folders / (_short(f"{name}--{self.labels[position]}", LONGEST_NAME - len(suffix)) + suffix)

    def _check_kind(self) -> None:
        count = len(self.names) * len(self.labels)
        if not self.is_file:
            if not self.out.is_dir() and _like_a_file(self.out.suffix):
                written = ", ".join((*FORMATS, *WRITTEN))
                raise ValueError(f"{self.out} ends in {self.out.suffix!r}; name a folder, or a {written} file")
            return
        if count > 1:
            raise ValueError(f"{self.out} is a file's name, but there are {count} translations; name a folder")
        if is_film(self.out) != is_film(next(iter(self.names))):
            raise ValueError(f"{self.out} is of another kind than the source; films become films, pictures pictures")


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written, and what was not."""

    count: int
    """Translations, or frames of a strip or film."""
    left_out: tuple[ValueError | OSError, ...]
    """Why others were not, one each; a DamagedFilm was written as far as it could be read."""


def named_files(
    place: Path, more_suffixes: tuple[str, ...] = (), *, left_out: Callable[[UnreadableImage], object] = lambda _: None
) -> list[tuple[str, Path]]:
    """Names and files: the picture `place`, or those in the folder, sorted, also with `more_suffixes`.

    A name is the relative path without its suffix, unless that is all that tells two apart. `left_out` gets what looks
    like a picture and is not taken.
    """
    found = list(_files(place, more_suffixes, left_out))
    return list(zip(short_names([name for name, _ in found]), (path for _, path in found), strict=True))


def short_names(files: Sequence[str]) -> list[str]:
    """Relative paths without their suffixes, where that is not all that tells two apart."""
    plain = [Path(name).with_suffix("").as_posix() for name in files]
    uses = Counter(plain) + Counter(set(files))
    return [name if uses[short] > 1 else short for short, name in zip(plain, files, strict=True)]


def sample_name(domain: str, seed: int, number: int) -> str:
    """What files in the n-th style sampled of a domain are called after; the domain by its own files' name."""
    return f"{domain}-seed{seed}-{number}"


def refuse_taken(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise ValueError when one of these files exists, unless they may be replaced."""
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not overwrite:
        raise ValueError(f"{taken} exists already; give --overwrite or another --out")


def _files(
    place: Path, more_suffixes: tuple[str, ...], left_out: Callable[[UnreadableImage], object]
) -> Iterator[tuple[str, Path]]:
    if not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist")
        if not place.is_file():
            raise UnreadableImage(str(place), NO_FILE)
        yield place.name, place
        return

    def tell(name: str, reason: str) -> None:
        left_out(UnreadableImage(str(place / name), reason))

    for name in scan(place, SUFFIXES + more_suffixes, left_out=tell):
        yield name, place / name


def _like_a_file(suffix: str) -> bool:
    """Whether a suffix is nearly one of pictures or films, or one that is only read."""
    return bool(difflib.get_close_matches(suffix.lower(), SUFFIXES + FILMS, n=1, cutoff=ALIKE))


def _short(name: str, most: int) -> str:
    """The name where it has at most `most` bytes, else its beginning and a hash of the whole."""
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return encoded[: most - len(digest) - 1].decode(errors="ignore") + "~" + digest
