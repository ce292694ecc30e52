"""A large translation in chunks: what one of them is, and the worker that translates and writes it."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from open_tunit.data.shards import shard_name
from open_tunit.device import choose_device, is_out_of_memory, use_half
from open_tunit.media.images import RefusedPicture, free_large_pictures
from open_tunit.media.video import is_film
from open_tunit.model import TUNIT
from open_tunit.parts import AT_ONCE
from open_tunit.scale.result_shards import put_shard
from open_tunit.scale.sources import Source
from open_tunit.scale.storage import Storage
from open_tunit.settings.config import Precision
from open_tunit.translation.translating import Work

CHUNK = 4 * AT_ONCE
"""Pictures: a multiple of the groups that they are translated in, so that these are those of one long list."""
SHARD = 1000
"""Results in a shard, less what makes its pictures a multiple of AT_ONCE."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a chunk's sources, by their relative paths."""

    done: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Source -> its outputs, relative paths too."""
    dead: dict[str, str] = dataclasses.field(default_factory=dict)
    """Source -> why it was left out."""
    error: Exception | None = None
    """What stops all of the translation, such as a full disk."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A chunk: its translations, of sources by their relative paths, and where those lie."""

    work: Work
    source: Source
    shard: int | None = None
    """The number of the shard that the results are packed into; None where they are files."""

    @property
    def sources(self) -> list[Path]:
        """Relative paths."""
        return list(self.work.results.names)

    def pieces(self) -> Iterator[Part]:
        """In parts of as many sources as are copied at once."""
        for paths in chunks(self.sources, CHUNK):
            source = self.source.part(path.as_posix() for path in paths)
            yield dataclasses.replace(self, work=self.work.part(paths), source=source)


def chunks(sources: Sequence[Path], size: int) -> Iterator[list[Path]]:
    """The sources in parts: so many pictures in each, then each film alone."""
    pictures = [path for path in sources if not is_film(path)]
    yield from (pictures[start : start + size] for start in range(0, len(pictures), size))
    yield from ([path] for path in sources if is_film(path))


def chunk_size(styles: int, *, in_shard: bool) -> int:
    """How many pictures make a chunk, in a shard as many as its results, of so many styles each, come from."""
    return max(1, SHARD // styles // AT_ONCE) * AT_ONCE if in_shard else CHUNK


class Worker:
    """A model in a process of its own that writes chunks into `out`."""

    def __init__(self, model: TUNIT, out: Storage, *, device: str, precision: Precision, threads: int) -> None:
        free_large_pictures()
        self.threads = threads
        place = choose_device(device)
        self.model = model.to(place)
        self.model.in_bfloat16 = use_half(precision, place)
        self.out = out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row {"outcome": ...} of the row {"part": ...}."""
        torch.set_num_threads(self.threads)  # the calling thread's: others than the constructor's may come
        return {"outcome": pickle.dumps(self.written(pickle.loads(row["part"])))}

    def written(self, part: Part) -> Outcome:
        """Translate a chunk and write the results; those of sources that are there already are replaced."""
        try:
            return self._files(part) if part.shard is None else self._packed(part, part.shard)
        except (OSError, ValueError, MemoryError) as error:
            return Outcome(error=error)
        except Exception as error:  # of which Ray would show lines of its own
            known = is_out_of_memory(error)
            return Outcome(error=error if known else OSError(f"{type(error).__name__}: {error}"))

    def _files(self, part: Part) -> Outcome:
        if self.out.folder is not None:
            return self._translated(part, self.out.folder)
        with tempfile.TemporaryDirectory() as folder:
            outcome = self._translated(part, Path(folder))
            for output in itertools.chain.from_iterable(outcome.done.values()):
                self.out.store(Path(folder) / output, output)
            return outcome

    def _packed(self, part: Part, number: int) -> Outcome:
        done, dead = dict[str, list[str]](), dict[str, str]()
        with tempfile.TemporaryDirectory() as folder:
            for piece in part.pieces():
                outcome = self._translated(piece, Path(folder))
                done |= outcome.done
                dead |= outcome.dead
            files, styles = list(itertools.chain.from_iterable(done.values())), len(part.work.styles)
            if files:
                most = chunk_size(styles, in_shard=True) * styles
                put_shard(self.out, number, Path(folder), files, first=number * most)
        shard = shard_name(number)
        return Outcome(done={source: [f"{shard}/{file}" for file in done[source]] for source in done}, dead=dead)

    def _translated(self, part: Part, out: Path) -> Outcome:
        """A chunk's results in the folder `out`."""
        sources, errors = part.sources, list[ValueError | OSError]()
        with tempfile.TemporaryDirectory() as spare:
            root, dead = part.source.fetched([path.as_posix() for path in sources], Path(spare))
            part.work.moved(root, out).write(self.model, failed=errors.append)
        for error in errors:
            if isinstance(error, RefusedPicture):
                dead.setdefault(Path(error.args[0]).relative_to(root).as_posix(), error.reason)
            else:  # a film, which is alone
                dead[sources[0].as_posix()] = str(error).replace(f"{root}/", "")
        count = range(len(part.work.styles))
        done = {
            path.as_posix(): [part.work.results.of(path, k).as_posix() for k in count]
            for path in sources
            if path.as_posix() not in dead
        }
        return Outcome(done=done, dead=dead)
