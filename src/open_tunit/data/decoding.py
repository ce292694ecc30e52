"""Picture files become squares, in threads; what cannot be read gets a reason."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from open_tunit.data.cache_format import Row, Stat, Version
from open_tunit.data.inspection import Inspection
from open_tunit.data.scan import LeftOut, content_hash
from open_tunit.media import images
from open_tunit.media.conversions import Seen

CHUNK = 256
"""Images decoded ahead of who takes them; bounds the memory."""
MOST_WORKERS = 8
Progress = Callable[[int, int], None]


def listing(root: Path, files: Sequence[str], left_out: LeftOut) -> list[tuple[str, Stat]]:
    """Files with size and times; `left_out` gets what has gone."""
    found: list[tuple[str, Stat]] = []
    for file in files:
        try:
            stat = (root / file).stat()
        except OSError as error:
            left_out(file, f"cannot be read: {error.strerror or error}")
            continue
        found.append((file, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)))
    return found


def read_row(
    root: Path, file: str, stat: Stat, *, size: int, fit: str, background: str, former: Version | None = None
) -> Row:
    """The square of a file and what is known of it, from `former` where it holds the same content; else the reason."""
    known = former.row(file, stat) if former is not None else None
    if known is not None:
        return known
    try:
        digest = content_hash(root / file)
        same = former.of_hash(digest) if former is not None else None
        if same is not None:
            return dataclasses.replace(same, file=file, stat=stat)
        seen = Seen()
        image = images.read_image(root / file, background=background, at_least=size, seen=seen)
        pixels = np.asarray(images.fit(image, size, fit, background))
        return Row(file, stat, pixels, digest, Inspection.of(seen, image))
    except images.UnreadableImage as error:
        return Row(file, stat, None, error.reason, transient=_may_pass(error.__cause__))
    except OSError as error:
        return Row(file, stat, None, f"cannot be read: {error.strerror or error}", transient=True)


def produced(
    listed: Sequence[tuple[str, Stat]], produce: Callable[[str, Stat], Row], workers: int, progress: Progress | None
) -> Iterator[Row]:
    """What became of the files, in order, made in `workers` threads."""
    done = itertools.count(1)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(listed), CHUNK):
            for row in pool.map(lambda item: produce(*item), listed[start : start + CHUNK]):
                yield row
                if progress is not None:
                    progress(next(done), len(listed))


def workers() -> int:
    """How many threads read files: Pillow lets go of the interpreter's lock."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def _may_pass(cause: BaseException | None) -> bool:
    """Whether a picture may be readable another time: the system refused its bytes, or the memory did not suffice."""
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)
