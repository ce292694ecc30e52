"""Folders of any size through a model at constant memory: a few pictures at once, read and written in threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image
from torch import Tensor

from open_tunit.images import UnreadableImage
from open_tunit.model import TUNIT, Opened

AT_ONCE = 8
"""Pictures in memory at each stage: opened, being translated, being written."""
THREADS = 4
Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each item, in order, computed in threads for up to AT_ONCE items more than were asked for."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def styles_of(
    model: TUNIT, files: Iterable[Path], *, left_out: Callable[[UnreadableImage], object]
) -> dict[Path, Tensor]:
    """The style code (1, style_dim) of each picture file; one that holds no picture is told to `left_out`."""
    codes: dict[Path, Tensor] = {}
    for group in _groups(_opened(model, files, left_out)):
        styles = model.style([picture for _, picture in group])
        codes |= {file: code for (file, _), code in zip(group, styles.split(1), strict=True)}
    return codes


def redraw_files(
    model: TUNIT,
    files: Iterable[Path],
    styles: Tensor,
    *,
    strength: float = 1.0,
    left_out: Callable[[UnreadableImage], object],
) -> Iterator[tuple[Path, int, Image.Image]]:
    """Each file redrawn with each style code of `styles` (N, style_dim): file, position of the code, translation.

    The first file's come first. Each file is read and encoded once; one that holds no picture is told to `left_out`.
    """

    for group in _groups(_opened(model, files, left_out)):
        drawn = model.redraw_all([picture for _, picture in group], styles, strength=strength)
        for (file, _), position in itertools.product(group, range(len(styles))):
            yield file, position, next(drawn)


def _opened(
    model: TUNIT, files: Iterable[Path], left_out: Callable[[UnreadableImage], object]
) -> Iterator[tuple[Path, Opened]]:
    def read(file: Path) -> tuple[Path, Opened | UnreadableImage]:
        try:
            return file, model.open(file)
        except UnreadableImage as error:
            return file, error

    for file, found in ahead(read, files):
        if isinstance(found, Opened):
            yield file, found
        else:
            left_out(found)


def _groups(items: Iterator[Item]) -> Iterator[list[Item]]:
    while group := list(itertools.islice(items, AT_ONCE)):
        yield group
