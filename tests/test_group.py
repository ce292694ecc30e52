"""What processes of a group agree on, and how a failure of one is one of all."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from several import as_torchrun, together

from open_tunit.training.distributed.group import ALONE, Group, OtherProcessError, processes
from open_tunit.training.distributed.shares import rows_of


def what_happens(group: Group, folder: Path) -> dict[str, Any]:
    """In a group of two on one machine."""
    file = folder / "cache"

    def failed(work: Any) -> tuple[str, str, bool | None]:
        try:
            work()
        except Exception as error:
            return type(error).__name__, str(error), getattr(error, "silent", None)
        raise AssertionError("nothing was raised")

    def refuse(rank: int, error: Exception) -> int:
        if group.rank == rank:
            raise error
        return group.rank

    def decode() -> str:
        if not file.exists():
            file.write_text(f"by {group.rank}")
        return file.read_text()

    return {
        "first": group.first(lambda: {"rank": group.rank, "tensor": torch.arange(3.0)}),
        "each": group.each(lambda: group.rank),
        "once": group.once_per_machine(decode),
        "largest": group.largest(15 * group.rank),
        "first fails": failed(lambda: group.first(lambda: refuse(0, FileNotFoundError("no run")))),
        "another fails": failed(lambda: group.each(lambda: refuse(1, ValueError("no disk")))),
        "a mistake of ours": failed(lambda: group.each(lambda: refuse(1, TypeError("a mistake")))),
        "unlike": failed(lambda: group.alike({"seed": 1, "images": group.rank})),
        "after that": group.first(lambda: group.rank + 5),
    }


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two")
    return together(what_happens, 2, folder / "results", folder)


def test_what_one_process_does_all_get(of_two: list[dict[str, Any]]) -> None:
    for found in of_two:
        assert found["first"]["rank"] == 0
        assert torch.equal(found["first"]["tensor"], torch.arange(3.0))
        assert found["once"] == "by 0"
        assert found["largest"] == 15
        assert found["after that"] == 5
    assert [found["each"] for found in of_two] == [0, 1]


def test_a_failure_is_told_once(of_two: list[dict[str, Any]]) -> None:
    first, other = of_two
    assert first["first fails"] == ("FileNotFoundError", "no run", None)
    assert other["first fails"] == ("OtherProcessError", "process 0: no run", True)
    assert first["another fails"] == ("OtherProcessError", "process 1: no disk", False)
    assert other["another fails"] == ("OtherProcessError", "process 1: no disk", True)
    assert other["a mistake of ours"] == ("TypeError", "a mistake", None)
    for found, kind in ((first, "ValueError"), (other, "OtherProcessError")):
        assert found["unlike"][0] == kind
        assert "images" in found["unlike"][1]
        assert "seed" not in found["unlike"][1]


def test_a_process_alone_does_everything_itself() -> None:
    values = [object()]
    assert ALONE.first(lambda: values) is values
    assert ALONE.each(lambda: values) is values
    assert ALONE.once_per_machine(lambda: values) is values
    assert ALONE.largest(3) == 3
    ALONE.alike({"images": 1})
    assert list(range(7))[ALONE.rows(7)] == list(range(7))
    with pytest.raises(ZeroDivisionError):
        ALONE.first(lambda: 1 / 0)


@pytest.mark.parametrize(("size", "total"), [*itertools.product((1, 2, 3, 7), (7, 8, 32))])
def test_rows_are_a_partition_in_order(size: int, total: int) -> None:
    parts = [list(range(total))[rows_of(rank, size, total)] for rank in range(size)]
    assert [*itertools.chain(*parts)] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("name", ["cuda:1", "cuda:0"])
def test_a_gpu_by_its_number_is_refused_to_several(name: str) -> None:
    with pytest.raises(ValueError, match="cuda"):
        Group(1, 2, 1).device(name)


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "3")
    with processes() as group:
        assert group is ALONE


def loses_one() -> None:
    """Process 1 is killed in the middle of a sum."""
    try:
        with processes() as group:
            group.largest(1)
            if group.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            group.share(4).sum(torch.ones(3))
    except OtherProcessError as error:
        print("silent" if error.silent else "told")


def test_a_process_that_is_lost_ends_the_others(tmp_path: Path) -> None:
    first, lost = as_torchrun(loses_one, 2, tmp_path)
    assert lost.code == -signal.SIGKILL
    assert (first.code, first.out.strip()) == (0, "told")


def fails_alike() -> int:
    """An error that both raise."""
    try:
        with processes() as group:
            group.first(lambda: Path("no/such/file").read_text())
    except ValueError as error:  # process 1
        return 3 + dist.is_initialized() + (not isinstance(error, OtherProcessError))
    except FileNotFoundError:  # process 0
        return 3 + dist.is_initialized()
    return 0


def test_after_an_error_of_all_no_group_is_left(tmp_path: Path) -> None:
    """Whose threads may abort a process at its end, in place of its exit code."""
    assert [process.code for process in as_torchrun(fails_alike, 2, tmp_path)] == [3, 3]
