"""The processes that train one run, as torchrun starts them: what one does for all, and how they fail together.

Process 0 leads: it alone writes the run, tells the user, and decides by the clock. The group of one process is ALONE,
in which nothing is exchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console

from open_tunit.device import choose_device
from open_tunit.terminal import by_torchrun
from open_tunit.training.distributed.shares import Share

if TYPE_CHECKING:  # not in every build of torch
    from torch.distributed.distributed_c10d import Store

Result = TypeVar("Result")
LONGEST_STEP = datetime.timedelta(minutes=10)
"""For which a process waits for the others within a step; after it they count as lost."""
LONGEST_ALONE = datetime.timedelta(days=1)
"""For which the others wait while one decodes images, clusters or reports; torchrun ends them where that one dies."""
LOOK_SECONDS = 0.1
"""Between looks at who has started."""
LOST = re.compile("gloo|nccl", re.IGNORECASE)
"""In the messages of collectives that fail because a process is there no more."""
USERS_ERRORS = (ValueError, OSError, ArithmeticError, MemoryError, ImportError)
"""That a line explains; others are ours, and their process shows where it happened."""


class OtherProcessError(ValueError):
    """Another process failed. It says why, or torchrun does where it was killed; only process 0 repeats it."""

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent


@dataclasses.dataclass(frozen=True)
class Group:
    """Process `rank` of `size`; `local_rank` counts those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    waiting: dist.ProcessGroup | None = None
    """What waits LONGEST_ALONE."""

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """This process's rows of a batch of `count` images."""
        return self.share(count).rows

    def share(self, count: int) -> Share:
        """This process's share of a batch of `count` images."""
        return Share(self.rank, self.size, count)

    def device(self, name: str) -> torch.device:
        """Where this process computes: with `auto` or `cuda` the GPU of its number. Raises ValueError."""
        if self.size == 1:
            return choose_device(name)
        if name in ("auto", "cuda") and torch.cuda.is_available():
            count = torch.cuda.device_count()
            if self.local_rank >= count:
                raise ValueError(f"{self.local_rank + 1} processes and {count} GPUs; give --nproc-per-node {count}")
            torch.cuda.set_device(self.local_rank)
            return torch.device("cuda", self.local_rank)
        device = choose_device("cpu" if name == "auto" else name)
        if device.type != "cpu":
            raise ValueError(f"device is {name!r} for {self.size} processes; expected auto, cuda or cpu")
        return device

    def first(self, work: Callable[[], Result]) -> Result:
        """`work` done by process 0, and its result for all, with tensors on the CPU for the others."""
        if self.size == 1:
            return work()
        results = self._done(work, when=self.leads)
        packed = [_packed(results[0]) if self.leads else b""]
        dist.broadcast_object_list(packed, src=0, group=self.waiting)
        result: Result = results[0] if self.leads else _unpacked(packed[0])
        return result

    def each(self, work: Callable[[], Result]) -> Result:
        """`work` done by every process; all wait for its end, and all fail where one does."""
        return self._done(work)[0] if self.size > 1 else work()

    def once_per_machine(self, work: Callable[[], Result]) -> Result:
        """`work` done by one process of each machine, then by the others, which find in the cache what it left."""
        if self.size == 1:
            return work()
        return (self._done(work, when=self.local_rank == 0) + self._done(work, when=self.local_rank > 0))[0]

    def _done(self, work: Callable[[], Result], *, when: bool = True) -> list[Result]:
        """What `work`, which is done where `when` holds, gave there. Raises in all processes what it raised in one."""
        results, error = [], None
        if when:
            try:
                results.append(work())
            except Exception as raised:
                error = raised
        lines = self.gathered(None if error is None else " ".join(str(error).split()) or type(error).__name__)
        failed = next((rank for rank, line in enumerate(lines) if line is not None), None)
        if failed is None:
            return results
        if error is not None and (self.leads or not isinstance(error, USERS_ERRORS)):
            raise error
        raise OtherProcessError(f"process {failed}: {lines[failed]}", silent=not self.leads) from error

    def alike(self, values: Mapping[str, object]) -> None:
        """Raise ValueError unless all processes have the same of what the names of `values` say."""
        if self.size == 1:
            return
        first, *others = self.gathered(dict(values))
        for rank, found in enumerate(others, start=1):
            different = [name for name, value in first.items() if found[name] != value]
            if different:
                raise self.error(ValueError(f"process {rank} differs from process 0 in {different[0]}"))

    def largest(self, value: int) -> int:
        """The largest of all processes' values."""
        if self.size == 1:
            return value
        values = torch.tensor([value])
        dist.all_reduce(values, dist.ReduceOp.MAX, group=self.waiting)
        return int(values)

    def agree(self, condition: bool) -> bool:
        """Whether `condition` holds in any process."""
        return bool(self.largest(condition))

    def error(self, error: Exception) -> Exception:
        """The error to raise where it is the same in all processes: process 0 tells it."""
        return error if self.leads else OtherProcessError(str(error), silent=True)

    @contextlib.contextmanager
    def alike_errors(self, kind: type[Exception]) -> Iterator[None]:
        """Errors of this kind, which all processes raise within, are told once."""
        try:
            yield
        except kind as error:
            raise self.error(error) from None

    def console(self, given: Console | None) -> Console:
        """On which this process tells the user something: only process 0 does."""
        return (given or Console()) if self.leads else Console(quiet=True)

    def gathered(self, value: Result) -> list[Result]:
        """The values of all processes, in order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.waiting)
        return found


@contextlib.contextmanager
def processes() -> Iterator[Group]:
    """The group that torchrun started this process in; ALONE where it did not.

    Raises OtherProcessError where a process of the group is lost.
    """
    if not by_torchrun() or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    rank = int(os.environ["RANK"])
    try:
        yield _joined()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or LOST.search(str(error))):
            raise
        message = "another process stopped; the same command goes on from the last checkpoint"
        raise OtherProcessError(message, silent=rank > 0) from error
    except USERS_ERRORS:
        _leave()
        raise
    _leave()


def _joined() -> Group:
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://", timeout=LONGEST_STEP))
    store = PrefixStore(_round(store, rank, size), store)
    both = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if both else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST_STEP)
    waiting = dist.new_group(backend="gloo", timeout=LONGEST_ALONE)
    return Group(rank, size, int(os.environ["LOCAL_RANK"]), waiting)


def _leave() -> None:
    """End the group's threads: at the interpreter's end some of them abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _round(store: Store, rank: int, size: int) -> str:
    """A name that the processes of this start agree on.

    torchrun keeps the store of those that it replaces, with the addresses at which nobody is any more
    (pytorch/pytorch#167288). Process 0 proposes a name to all whom it finds, of this start or an earlier one, until
    each of them has agreed; those of an earlier one never do.
    """
    own = uuid.uuid4().hex
    store.set(f"joined/{rank}", own)
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_STEP.total_seconds():
        if rank == 0:
            name, joined = uuid.uuid4().hex, [store.get(f"joined/{other}").decode() for other in range(size)]
            store.set("round", json.dumps([name, joined]))
            awaited = [f"{name}/{other}" for other in range(1, size)]
        else:
            name, joined = json.loads(store.get("round"))
            if len(joined) != size or joined[rank] != own:
                time.sleep(LOOK_SECONDS)
                continue
            store.set(f"{name}/{rank}", "agreed")
            awaited = [f"{name}/begins"]
        try:
            store.wait(awaited, datetime.timedelta(seconds=10 * LOOK_SECONDS))
        except dist.DistStoreError:
            continue
        if rank == 0:
            store.set(f"{name}/begins", "now")
        return name
    raise dist.DistStoreError("some processes did not start")


def _packed(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _unpacked(packed: bytes) -> Any:
    return torch.load(io.BytesIO(packed), map_location="cpu", weights_only=False)


ALONE = Group()
