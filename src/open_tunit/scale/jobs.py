"""A large translation: what is asked for, what of it is done already, and the parts that are left."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from open_tunit.data.scan import content_hash
from open_tunit.data.sharding import MANIFEST
from open_tunit.data.shards import is_shards, pattern_of
from open_tunit.files import json_objects, sweep
from open_tunit.media.images import is_picture
from open_tunit.media.pictures import ALPHA
from open_tunit.media.video import WRITTEN, is_film
from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Strength
from open_tunit.scale.chunks import Part, chunk_size, chunks
from open_tunit.scale.manifest import Manifest
from open_tunit.scale.result_shards import finish, taken, unused
from open_tunit.scale.sources import lies_among, sources_in
from open_tunit.scale.storage import Storage
from open_tunit.settings.config import Precision
from open_tunit.translation.references import Asked
from open_tunit.translation.results import named_files, short_names
from open_tunit.translation.translating import Work, work_for

DRAWING = 2
"""The way in which pictures are drawn; jobs that were begun when it was another do not go on."""


class Job(NamedTuple):
    """A translation that was begun, or goes on."""

    out: Storage
    manifest: Manifest
    parts: list[Part]
    """That are left."""
    sources: int
    """All of them."""
    in_shards: bool
    """Whether results are packed."""

    @property
    def left(self) -> int:
        """Sources that are left."""
        return sum(len(part.sources) for part in self.parts)

    @property
    def pattern(self) -> str | None:
        """Names all shards of results, as `train --data` takes it; None where there are none."""
        return pattern_of(str(self.out), max(self.manifest.shards) + 1) if self.in_shards else None

    def finish(self) -> None:
        """Take away what killed commands left: temporary files, shards in no line of the manifest. Raises OSError."""
        if self.in_shards:
            finish(self.out, self.manifest.shards)
        if self.out.folder is not None:
            sweep(self.out.folder)


def begin(
    model: TUNIT,
    source: str,
    out: str,
    asked: Asked,
    *,
    strength: Strength,
    whole: bool,
    mask: str | None,
    overwrite: bool,
    shards: bool,
    precision: Precision,
    warn: Callable[[ValueError | OSError], object],
) -> Job:
    """The job of translating the folder, URL or shards `source` into the folder or URL `out`.

    `out` has its manifest then. With `shards` results are packed, and films are left out. Raises ValueError where
    results cannot be called as they are, or are there of another job; FileNotFoundError, OSError.
    """
    target = _target(out, source)
    mask = mask if mask in (None, ALPHA) else str(Path(mask).absolute())  # for actors, which work in other folders
    place, files, refused = sources_in(source)
    if shards:
        refused |= {name: "is a film, which shards do not hold" for name in files if is_film(Path(name))}
        files = [name for name in files if name not in refused]
    named = dict(zip(map(Path, files), short_names(files), strict=True))
    work = work_for(model, named, Path(), asked, strength=strength, whole=whole, mask=mask, failed=warn)
    if is_shards(source):  # whose names nobody can change
        blocked = work.results.blocked()
        refused |= {path.as_posix(): f"would lie within another's result, {name}" for path, name in blocked.items()}
        named = {path: name for path, name in named.items() if path not in blocked}
        work = work.part(named)
    manifest = Manifest(target)
    _check(work, target, shards=shards, overwrite=overwrite or manifest.exists)
    manner = (DRAWING, strength, whole, precision, "shards" if shards else "files")
    wanted = {"source": str(place), "model": _digest_of_model(model), "style": _digest_of_style(asked)}
    wanted |= {"mask": _digest_of_mask(mask), "manner": repr(manner)}
    manifest.begin(wanted, overwrite=overwrite)
    manifest.add({}, refused)
    left = _left(named, manifest, chunk_size(len(work.styles), in_shard=shards))
    numbers = unused(manifest.shards) if shards else itertools.repeat(None)
    parts = [
        Part(work=work.part(paths), source=place.part(path.as_posix() for path in paths), shard=number)
        for paths, number in zip(left, numbers, strict=False)
    ]
    return Job(target, manifest, parts, len(named), shards)


def _target(out: str, source: str) -> Storage:
    """Where results go. Raises ValueError for what can be no folder of them."""
    if is_picture(out) or Path(out).suffix.lower() in WRITTEN:
        raise ValueError(f"{out} is a file's name; on Ray translations go into a folder")
    target = Storage.of(out)
    if lies_among(target, source):
        raise ValueError(f"{target} lies in the folder of the sources, {source}; name one outside")
    if {"folder", "per_shard"} <= next(json_objects([target.read_text(MANIFEST)]), {}).keys():
        raise ValueError(
            f"{target} has shards of `tunit shard`, whose {MANIFEST} has their checksums; name another --out"
        )
    return target


def _check(work: Work, target: Storage, *, shards: bool, overwrite: bool) -> None:
    """Raise ValueError where two results have one name and, unless they may be replaced, where one is there."""
    work.results.check(overwrite=True)
    if not overwrite:
        there = taken(target) if shards else _result_in(target, work)
        if there is not None:
            raise ValueError(f"{target}/{there} exists already; give --overwrite or another --out")


def _result_in(target: Storage, work: Work) -> str | None:
    names = {work.results.of(path, k).as_posix() for path in work.results.names for k in range(len(work.styles))}
    return next((name for name in target.files() if name in names), None)


def _left(sources: Iterable[Path], manifest: Manifest, size: int) -> list[list[Path]]:
    """The chunks that are not done, and those of what was left out before, to be tried again.

    Of the former, whole chunks are done or none of them: the rest are the chunks of a command that was never killed.
    """
    new: list[Path] = []
    again: list[Path] = []
    for path in sources:
        if path.as_posix() in manifest.dead:
            again.append(path)
        elif path.as_posix() not in manifest.done:
            new.append(path)
    return [*chunks(new, size), *chunks(again, size)]


def _digest_of_model(model: TUNIT) -> str:
    digest = hashlib.sha256(repr((model.config, model.fit, model.background)).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest_of_style(asked: Asked) -> str:
    """By the references' bytes, for style codes differ in their last bits between machines."""
    files = map(_digest_of_files, filter(None, (asked.reference, asked.among)))
    about = (asked.domain, asked.samples, asked.seed, asked.neighbours, *files)
    return hashlib.sha256(repr(about).encode()).hexdigest()


def _digest_of_mask(mask: str | None) -> str:
    """By their bytes as well; the word alpha is itself."""
    return str(mask) if mask in (None, ALPHA) else _digest_of_files(Path(mask))


def _digest_of_files(place: Path) -> str:
    """Of a picture, or of those in a folder: names and bytes."""
    digest = hashlib.sha256()
    for name, file in named_files(place):
        digest.update(f"{name} {content_hash(file)}\n".encode())
    return digest.hexdigest()
