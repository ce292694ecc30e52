"""A large translation in chunks: what one of them is, and the worker that translates and writes it."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from open_tunit.device import choose_device, is_out_of_memory, use_half
from open_tunit.media.images import RefusedPicture, free_large_pictures
from open_tunit.media.video import is_film
from open_tunit.model import TUNIT
from open_tunit.parts import AT_ONCE
from open_tunit.scale.storage import Storage
from open_tunit.settings.config import Precision
from open_tunit.translation.translating import Work

CHUNK = 4 * AT_ONCE
"""Pictures: a multiple of the groups that they are translated in, so that these are those of one long list."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a chunk's sources, by their relative paths."""

    done: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Source -> its outputs, relative paths too."""
    dead: dict[str, str] = dataclasses.field(default_factory=dict)
    """Source -> why it was left out."""
    error: Exception | None = None
    """What stops all of the translation, such as a full disk."""


def chunks(sources: Sequence[Path]) -> Iterator[list[Path]]:
    """The sources in parts for `Worker`: pictures in CHUNKs, then each film alone."""
    pictures = [path for path in sources if not is_film(path)]
    yield from (pictures[start : start + CHUNK] for start in range(0, len(pictures), CHUNK))
    yield from ([path] for path in sources if is_film(path))


class Worker:
    """A model in a process of its own that writes chunks.

    The sources of a chunk are relative paths in `source`, as the results are in `out`.
    """

    def __init__(
        self, model: TUNIT, source: Storage, out: Storage, *, device: str, precision: Precision, threads: int
    ) -> None:
        free_large_pictures()
        self.threads = threads
        place = choose_device(device)
        self.model = model.to(place)
        self.model.in_bfloat16 = use_half(precision, place)
        self.source, self.out = source, out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row {"outcome": ...} of the row {"work": ...}."""
        torch.set_num_threads(self.threads)  # the calling thread's: others than the constructor's may come
        return {"outcome": pickle.dumps(self.written(pickle.loads(row["work"])))}

    def written(self, work: Work) -> Outcome:
        """Translate a chunk and write the results; those of sources that are there already are replaced."""
        try:
            with ExitStack() as stack:
                folders = (self.source.folder, self.out.folder)
                root, out = (
                    Path(stack.enter_context(tempfile.TemporaryDirectory())) if folder is None else folder
                    for folder in folders
                )
                self._fetch(work, root)
                outcome = self._written(work, root, out)
                self._store(outcome, out)
                return outcome
        except (OSError, ValueError, MemoryError) as error:
            return Outcome(error=error)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return Outcome(error=error)

    def _fetch(self, work: Work, root: Path) -> None:
        if self.source.folder is None:
            for path in work.results.names:
                with suppress(FileNotFoundError):  # since it was listed: reading it tells
                    self.source.fetch(path.as_posix(), root / path)

    def _store(self, outcome: Outcome, out: Path) -> None:
        if self.out.folder is None:
            for name in itertools.chain.from_iterable(outcome.done.values()):
                self.out.store(out / name, name)

    def _written(self, work: Work, root: Path, out: Path) -> Outcome:
        here, errors = work.moved(root, out), list[ValueError | OSError]()
        here.write(self.model, failed=errors.append)
        sources, dead = list(work.results.names), dict[str, str]()
        for error in errors:
            if isinstance(error, RefusedPicture):
                dead[Path(error.args[0]).relative_to(root).as_posix()] = error.reason
            else:  # a film, which is alone
                dead[sources[0].as_posix()] = str(error).replace(f"{root}/", "")
        count = range(len(work.styles))
        done = {
            path.as_posix(): [work.results.of(path, k).as_posix() for k in count]
            for path in sources
            if path.as_posix() not in dead
        }
        return Outcome(done=done, dead=dead)
