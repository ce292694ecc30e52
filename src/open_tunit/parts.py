"""Batches of any size, computed in parts that the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE, PIXELS_AT_ONCE = 8, 2**24
"""Most pictures, and most of their pixels, in memory at each stage of the work on many; one alone may have more."""
CPU_REFUSES = "DefaultCPUAllocator"
"""In torch's message when the system gives no memory; there is no exception class for it."""


def in_parts(function: Callable[..., Result], *rows: Tensor, at_once: int) -> Iterator[Result]:
    """`function` of the first rows of all tensors (N, ...), then of the next: at most `at_once`, at least one.

    Where the memory does not suffice for a part, it and those after it are half as large. Raises what `function`
    raises, and the lack of memory for a single row.
    """
    count, done = len(rows[0]), 0
    at_once = max(1, min(at_once, count))
    while done < count:
        try:
            part = function(*(tensor[done : done + at_once] for tensor in rows))
        except (RuntimeError, MemoryError) as error:
            if at_once == 1 or not _lacks_memory(error):
                raise
            at_once //= 2
            continue
        yield part
        done += at_once


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or CPU_REFUSES in str(error)


def groups(items: Iterable[Item], pixels: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in lists of at most AT_ONCE, with at most PIXELS_AT_ONCE pixels together; one alone may have more.

    A list that is full by itself is given out before the next item is asked for, which may be as large.
    """
    group: list[Item] = []
    total = 0
    for item in items:
        count = pixels(item)
        if group and total + count > PIXELS_AT_ONCE:
            yield group
            group, total = [], 0
        group.append(item)
        total += count
        del item
        if len(group) == AT_ONCE or total >= PIXELS_AT_ONCE:
            yield group
            group, total = [], 0
    if group:
        yield group
