"""parts.py: batches of any size in parts, smaller ones where the memory does not suffice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from open_tunit.parts import AT_ONCE, PIXELS_AT_ONCE, groups, in_parts

CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
LACKS = [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError(CPU_MESSAGE)]


class Memory:
    """Doubles rows, up to `room` of them at a time; keeps how many it was asked for."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error = room, error
        self.asked: list[int] = []

    def __call__(self, rows: Tensor, others: Tensor) -> Tensor:
        self.asked.append(len(rows))
        if len(rows) > self.room:
            raise self.error
        return rows + others


def test_the_parts_are_the_whole() -> None:
    rows = torch.arange(22.0).reshape(11, 2)
    memory = Memory(4, MemoryError())
    parts = list(in_parts(memory, rows, rows, at_once=4))
    assert [len(part) for part in parts] == [4, 4, 3]
    assert torch.equal(torch.cat(parts), 2 * rows)


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_parts_are_halved_until_the_memory_suffices(error: Exception) -> None:
    rows = torch.arange(11.0)
    memory = Memory(3, error)
    assert torch.equal(torch.cat(list(in_parts(memory, rows, rows, at_once=8))), 2 * rows)
    assert memory.asked == [8, 4, 2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_no_memory_for_a_single_row_is_an_error(error: Exception) -> None:
    memory = Memory(0, error)
    with pytest.raises(type(error)):
        list(in_parts(memory, torch.arange(5.0), torch.arange(5.0), at_once=4))
    assert memory.asked == [4, 2, 1]


def test_other_errors_are_not_tried_again() -> None:
    memory = Memory(1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(in_parts(memory, torch.arange(5.0), torch.arange(5.0), at_once=4))
    assert memory.asked == [4]


def test_groups_have_few_items_and_few_pixels() -> None:
    half = PIXELS_AT_ONCE // 2
    assert [len(group) for group in groups(range(2 * AT_ONCE + 1), lambda _: 1)] == [AT_ONCE, AT_ONCE, 1]
    assert list(groups([half, half, half + 1, half, 1], lambda pixels: pixels)) == [[half, half], [half + 1], [half, 1]]
    assert list(groups([], lambda _: 1)) == []


def test_a_large_item_is_given_out_before_the_next_one_is_asked_for() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(3):
            asked.append(item)
            yield item

    for count, group in enumerate(groups(items(), lambda _: 2 * PIXELS_AT_ONCE), start=1):
        assert group == [count - 1]
        assert len(asked) == count
