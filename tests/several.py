"""Several processes on this machine, in the environment that torchrun gives them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from open_tunit.training.distributed.group import ALONE, processes

LONGEST_SECONDS = 300
Work = Callable[..., Any]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "open_tunit.training.loop", "open_tunit.cli.main"])


class Ended(NamedTuple):
    """How a process ended; `code` is minus the signal's number where it was killed."""

    code: int
    out: str
    err: str


def together(work: Work, size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `work(group, *arguments)` returns in each of `size` processes; it must be importable."""
    for rank, ended in enumerate(as_torchrun(_work, size, folder, work, folder, arguments)):
        assert ended.code == 0, f"process {rank}: {ended.err}"
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def alone(work: Work, *arguments: Any) -> Any:
    """What `work` returns in this process alone."""
    return work(ALONE, *arguments)


def as_torchrun(work: Work, size: int, folder: Path, *arguments: Any, stop: Path | None = None) -> list[Ended]:
    """How `size` processes end that call `work(*arguments)`, an importable function that may return an exit code.

    The last one gets a SIGTERM when `stop` is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(size):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started.append(_CONTEXT.Process(target=_run, args=(folder, place, work, arguments)))
        started[-1].start()
    try:
        while stop is not None and not stop.exists():
            time.sleep(0.01)
            assert all(process.is_alive() for process in started)
        if stop is not None:
            started[-1].terminate()
        for process in started:
            process.join(LONGEST_SECONDS)
        assert all(process.exitcode is not None for process in started), "processes hang"
    finally:
        for process in started:
            process.kill()
    texts = [[(folder / f"{rank}.{name}").read_text() for name in ("out", "err")] for rank in range(size)]
    return [Ended(process.exitcode or 0, *text) for process, text in zip(started, texts, strict=True)]


def _run(folder: Path, place: dict[str, Any], work: Work, arguments: tuple[Any, ...]) -> None:
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        for name, redirect in (("out", contextlib.redirect_stdout), ("err", contextlib.redirect_stderr)):
            stack.enter_context(redirect(stack.enter_context(open(folder / f"{place['RANK']}.{name}", "w"))))
        code = work(*arguments)
    sys.exit(code)


def _work(work: Work, folder: Path, arguments: tuple[Any, ...]) -> None:
    with processes() as group:
        torch.save(work(group, *arguments), folder / f"{group.rank}.pt")
