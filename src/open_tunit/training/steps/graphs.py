"""Training steps as CUDA graphs: each kind of step is captured once, then replayed by one call.

A step of the small presets is thousands of small kernels: the host takes longer to start them than a GPU to run them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from open_tunit.data.batches import Batch, PairBatch
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.any_step import AnyStep
from open_tunit.training.steps.descent import LOOK_EVERY, not_finite
from open_tunit.training.steps.objectives import Terms
from open_tunit.training.steps.state import OPTIMISERS, State

WARM_UP = 2
"""Steps of a kind before it is captured: they make what a capture cannot, the optimisers' state and cuDNN's plans."""
MOST_KINDS = 32
"""Captured at the most. With some labels there is one for each number of unlabelled images in a batch."""

Warn = Callable[[str], None]
AnyBatch = Batch | PairBatch


class Recorder(Protocol):
    """How steps are captured; tests have one that needs no GPU."""

    def warm(self, step: Callable[[], Terms]) -> Terms:
        """Take a step before one of its kind is captured."""

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """A function that replays `step` and returns what it returned, at the same address. RuntimeError: it failed."""


class CudaRecorder:
    """Captures on a stream of its own; all graphs share their memory, for only one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, step: Callable[[], Terms]) -> Terms:
        """On the stream of the captures, whose libraries set up their working memory for it."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            terms = step()
        current.wait_stream(self.stream)
        return terms

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """A replay of the graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            found = step()

        def replay() -> Tensor:
            graph.replay()
            return found

        return replay


@dataclasses.dataclass(frozen=True)
class _Recording:
    """A captured kind of step: where its batch goes, and the names of its terms (T,)."""

    inputs: AnyBatch
    replay: Callable[[], Tensor]
    names: list[str]

    def __call__(self, batch: AnyBatch) -> Terms:
        copy_batch(batch, self.inputs)
        values = self.replay().clone()  # the next replay, of any kind, may overwrite them
        return dict(zip(self.names, values.unbind(), strict=True))


class Steps:
    """`steps(step, state, batch, phase)` takes the step, by replaying one of its kind where that was captured.

    Eager are the steps on a CPU, those until the queues are full or while G's rate warms up, the first WARM_UP of each
    kind, and after a capture that failed, of which `warn` tells, all of them. For one run: of its plan only steps,
    starts and budget may change.
    """

    def __init__(self, recorder: Recorder | None, warn: Warn = lambda _: None) -> None:
        self._recorder, self._warn = recorder, warn
        self._recordings: dict[Hashable, _Recording] = {}
        self._taken: Counter[Hashable] = Counter()
        self._memory: tuple[object, ...] = ()
        self._patch_weight = torch.empty(0)

    @classmethod
    def on(cls, device: torch.device, warn: Warn = lambda _: None, group: Group = ALONE) -> Steps:
        """Steps on this device: as graphs where it is CUDA's and the process alone."""
        return cls(CudaRecorder(device) if device.type == "cuda" and group.size == 1 else None, warn)

    @property
    def captured(self) -> int:
        """Kinds of step that are captured."""
        return len(self._recordings)

    def __call__(self, step: AnyStep, state: State, batch: AnyBatch, phase: Phase) -> Terms:
        """As `step` alone, up to LOOK_EVERY: a look at the losses comes after the updates."""
        pushes = isinstance(batch, Batch) and not step.plan.recipe.pretrained
        growing = pushes and not (state.keys.full and state.logits.full)
        if self._recorder is None or growing or phase.generator_rate != 1:
            return step(state, batch, phase)
        self._keep_memory(state, batch, phase)
        kind = kind_of(step.plan, batch, phase)
        if kind not in self._recordings:
            if self._taken[kind] < WARM_UP or len(self._recordings) == MOST_KINDS:
                self._taken[kind] += 1
                return self._recorder.warm(lambda: step(state, batch, phase))
            step.prepare(state, phase)
            self._capture(kind, step, state, batch, phase)
            if self._recorder is None:
                return step(state, batch, phase)
        step.prepare(state, phase)
        self._patch_weight.fill_(phase.patch_weight)
        terms = self._recordings[kind](batch)
        _look(terms, state.step)
        step.finish(state, phase)
        return terms

    def _keep_memory(self, state: State, batch: AnyBatch, phase: Phase) -> None:
        """Forget what was captured if the state's tensors are no longer where they were."""
        rate = state.opt_E.param_groups[0]["lr"]
        memory = (state, state.keys.rows, state.logits.rows, rate)
        if [*map(id, memory)] == [*map(id, self._memory)]:
            return
        self._recordings.clear()
        self._taken.clear()
        # A GPU's optimisers read the rate in float32, a CPU's as a number of Python.
        x = _parts(batch)[0]
        kind = torch.float32 if x.is_cuda else torch.float64
        rate = torch.full((), phase.guiding_learning_rate, dtype=kind, device=x.device)
        for group in state.opt_E.param_groups:
            group["lr"] = rate
        self._patch_weight = torch.zeros((), dtype=x.dtype, device=x.device)
        self._memory = (*memory[:3], rate)

    def _capture(self, kind: Hashable, step: AnyStep, state: State, batch: AnyBatch, phase: Phase) -> None:
        assert self._recorder is not None
        inputs = copy_of_batch(batch)
        names: list[str] = []

        def once() -> Tensor:
            terms = step.compute(state, inputs, phase, self._patch_weight)
            names[:] = terms
            return torch.stack(list(terms.values()))

        try:
            with _capturable(state):
                replay = self._recorder.capture(once)
        except RuntimeError as error:
            self._recorder = None
            self._recordings.clear()
            for network in (state.E, state.G, state.D):
                network.zero_grad(set_to_none=True)  # what the failed capture left is in memory that is gone
            reason = str(error).strip().partition("\n")[0]
            self._warn(f"no CUDA graph could be captured, so steps are slower: {reason}")
            return
        self._recordings[kind] = _Recording(inputs, replay, names)


def kind_of(plan: Plan, batch: AnyBatch, phase: Phase) -> Hashable:
    """What two steps share if one graph serves both: all of the phase that is not a number in memory, and shapes."""
    alike = dataclasses.replace(
        phase,
        generator_steps=0,
        joint_steps=0 if plan.penalised(phase) else 1,
        guiding_learning_rate=0.0,
        patch_weight=float(phase.patch_weight > 0),
        labelled_only=False,
    )
    return alike, tuple((tuple(part.shape), part.stride()) for part in _parts(batch))


def copy_of_batch(batch: AnyBatch) -> AnyBatch:
    """The batch in memory of its own; parts that are the same tensor stay the same."""
    copies = {id(part): part.clone() for part in _parts(batch)}
    copied: AnyBatch = _mapped(batch, lambda part: copies[id(part)])
    return copied


def copy_batch(batch: AnyBatch, into: AnyBatch) -> None:
    """Copy the numbers of one batch to where another's are."""
    pairs = {id(target): (target, source) for target, source in zip(_parts(into), _parts(batch), strict=True)}
    for target, source in pairs.values():
        target.copy_(source)


def _parts(batch: AnyBatch) -> list[Tensor]:
    found: list[Tensor] = []

    def note(part: Tensor) -> Tensor:
        found.append(part)
        return part

    _mapped(batch, note)
    return found


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with every tensor in it changed: in dataclasses and named tuples, however deep."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return type(value)(*(_mapped(part, change) for part in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _mapped(getattr(value, field.name), change) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _look(terms: Terms, step: int) -> None:
    if step % LOOK_EVERY == 0 and not torch.isfinite(torch.stack(list(terms.values()))).all():
        raise not_finite("losses are", terms, step)


@contextlib.contextmanager
def _capturable(state: State) -> Iterator[None]:
    """Optimisers that count their steps on the device, as a capture asks; before and after it they need not know."""
    optimisers = [getattr(state, name) for name in OPTIMISERS]
    groups = [group for each in optimisers for group in each.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    cuda = state.keys.rows.is_cuda  # on a CPU they refuse the word
    for parameter, values in ((p, values) for each in optimisers for p, values in each.state.items()):
        if "step" in values:
            values["step"] = values["step"].to(parameter.device)
    for group in groups:
        group["capturable"] = cuda
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
