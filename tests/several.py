"""Several processes on this machine, as torchrun would start them, for the tests of training by several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from open_tunit.training.distributed import ALONE, LONGEST_STEP, Group

LONGEST_SECONDS = 600
Work = Callable[..., Any]


def together(work: Work, size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `work(group, *arguments)` returns in each of `size` processes; it must be importable."""
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_run, args=(work, rank, size, folder, arguments)) for rank in range(size)]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(LONGEST_SECONDS)
        assert [process.exitcode for process in started] == [0] * size
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _run(work: Work, rank: int, size: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    place = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=size, timeout=LONGEST_STEP)
    group = Group(rank, size, rank, dist.group.WORLD)
    torch.save(work(group, *arguments), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def alone(work: Work, *arguments: Any) -> Any:
    """What `work` returns in this process alone."""
    return work(ALONE, *arguments)
