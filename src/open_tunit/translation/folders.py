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

from open_tunit.media.images import RefusedPicture, UnreadableImage, pixel_count, read_image, save_image
from open_tunit.media.pictures import Opened
from open_tunit.model import TUNIT
from open_tunit.parts import AT_ONCE, PIXELS_AT_ONCE, groups
from open_tunit.translation.manner import PLAIN, Manner
from open_tunit.translation.results import sample_name

THREADS = 4
Item = TypeVar("Item")
Result = TypeVar("Result")
LeftOut = Callable[[RefusedPicture], object]


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], pixels: Callable[[Item], int] = lambda _: 0
) -> Iterator[Result]:
    """`function` of each item, in order, computed in threads for some items more than were asked for.

    These are at most AT_ONCE, and have at most PIXELS_AT_ONCE pixels together; one alone may have more.
    """
    waiting: deque[Future[Result]] = deque()
    counts: deque[int] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for item in items:
            count = pixels(item)
            while waiting and (len(waiting) == AT_ONCE or sum(counts) + count > PIXELS_AT_ONCE):
                counts.popleft()
                yield waiting.popleft().result()  # no name keeps it from being freed
            waiting.append(pool.submit(function, item))
            counts.append(count)
            del item
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def styles_of(model: TUNIT, files: Iterable[Path], *, left_out: LeftOut) -> dict[Path, Tensor]:
    """The style code (1, style_dim) of each picture file; what holds no picture goes to `left_out`."""
    codes: dict[Path, Tensor] = {}
    for group in _opened_groups(model, files, PLAIN, left_out):
        styles = model.style([picture for _, picture in group])
        codes |= {file: code for (file, _), code in zip(group, styles.split(1), strict=True)}
    return codes


def readable_files(files: Iterable[Path], *, left_out: LeftOut) -> list[Path]:
    """The files that hold a picture; what holds none goes to `left_out`."""

    def read(file: Path) -> tuple[Path, UnreadableImage | None]:
        try:
            read_image(file)
        except UnreadableImage as error:
            return file, error
        return file, None

    readable = []
    for file, error in ahead(read, files, pixel_count):
        if error is None:
            readable.append(file)
        else:
            left_out(error)
    return readable


def styles_of_domains(model: TUNIT, domains: Iterable[int | str]) -> list[tuple[str, Tensor]]:
    """File names and typical styles (1, style_dim) of domains given by number or name, or of `all` that have one.

    Raises ValueError for what is no domain, for one without images, and where there is none.
    """
    return [(model.naming.label(k), model.domain_style(k)[None]) for k in _numbers(model, domains)]


def sampled_styles(model: TUNIT, domain: int | str, count: int, *, seed: int = 0) -> list[tuple[str, Tensor]]:
    """File names and style codes (1, style_dim) of `count` samples of a domain, or of each of `all` that have images.

    Raises ValueError as `styles_of_domains` and `TUNIT.sample_styles`.
    """
    found: list[tuple[str, Tensor]] = []
    for number in _numbers(model, (domain,)):
        codes = model.sample_styles(number, count, seed=seed).split(1)
        found += [(sample_name(model.naming.label(number), seed, k), code) for k, code in enumerate(codes)]
    return found


def _numbers(model: TUNIT, domains: Iterable[int | str]) -> list[int]:
    """The numbers of domains, as `styles_of_domains` takes them."""
    numbers: list[int] = []
    for domain in domains:
        if domain == "all":
            numbers += [k for k in range(model.config.domains) if model.domain_counts[k]]
        else:
            numbers.append(model.naming.number(domain))
    if not numbers:
        raise ValueError("the model has no typical styles; give a reference")
    return numbers


def redraw_files(
    model: TUNIT, files: Iterable[Path], styles: Tensor, manner: Manner = PLAIN, *, left_out: LeftOut
) -> Iterator[tuple[Path, int, Image.Image]]:
    """Each file redrawn with each style code of `styles` (N, style_dim): file, position of the code, translation.

    The first file's come first. Each file is read and encoded once; what holds no picture, or one that cannot be
    redrawn in this manner, goes to `left_out`.
    """
    for group in _opened_groups(model, files, manner, left_out):
        drawn = model.redraw_all([picture for _, picture in group], styles, strength=manner.strength)
        names = [file for file, _ in group]
        del group  # the pictures are freed before the next ones are waited for
        yield from ((file, k, picture) for (file, k), picture in zip(_pairs(names, styles), drawn, strict=True))
        del drawn


def _pairs(files: Iterable[Path], styles: Tensor) -> Iterator[tuple[Path, int]]:
    return itertools.product(files, range(len(styles)))


def save_redrawn(
    model: TUNIT,
    files: Iterable[Path],
    styles: Tensor,
    target: Callable[[Path, int], Path],
    manner: Manner = PLAIN,
    *,
    left_out: LeftOut,
) -> int:
    """Write what `redraw_files` gives to `target(file, position of the code)`; returns how many were written."""

    def save(translation: tuple[Path, int, Image.Image]) -> None:
        file, position, picture = translation
        path = target(file, position)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(picture, path)

    drawn = redraw_files(model, files, styles, manner, left_out=left_out)
    return sum(1 for _ in ahead(save, drawn, lambda translation: translation[2].width * translation[2].height))


def _opened_groups(
    model: TUNIT, files: Iterable[Path], manner: Manner, left_out: LeftOut
) -> Iterator[list[tuple[Path, Opened]]]:
    """The pictures in groups of AT_ONCE by their positions among the files, less where that were too many pixels.

    A network's output differs in its last bits with the number of images beside one: so a picture's depends on the
    files of its own group alone, wherever the files begin, as long as that is a multiple of AT_ONCE.
    """

    def read(file: Path) -> tuple[Path, Opened | RefusedPicture]:
        try:
            return file, model.open(manner.source(file))
        except RefusedPicture as error:
            return file, error
        except FileNotFoundError:  # since the folder was listed
            return file, UnreadableImage(str(file), "does not exist any more")

    every = list(files)
    results = ahead(read, every, pixel_count)

    def readable() -> Iterator[tuple[Path, Opened]]:
        for file, found in itertools.islice(results, AT_ONCE):
            if isinstance(found, Opened):
                yield file, found
            else:
                left_out(found)
            del found  # so that it is freed before the next one is read

    for _ in range(0, len(every), AT_ONCE):
        yield from groups(readable(), lambda item: item[1].pixels)
