"""The joint step on a GPU in other ways of running it, each alone and together: gpu_variants.json.

python benchmarks/gpu_variants.py [--preset paper --size 128 --batch 32 64 --variants eager graph --rounds 5]
cudnn_benchmark: cuDNN chooses by trial. contiguous: plain layout, where the networks have channels last. compiled:
`torch.compile` of G's encoder and decoder and of D, but for R1, which stays eager. graph: a CUDA graph of the whole
step (forward passes, gradients, optimisers, queues), one with R1 and one without; averages are updated after it.
bfloat16 but R1, TF32 off. With `--half off` all is float32. Rows of the same networks, batch and variant are replaced.

The first row is always eager. `weights` compares the change of each network's weights after STEPS steps with the eager
step's from the same state: the norm of the difference by that of the change. `noise` is that of a second eager run,
since a GPU adds in any order; `weights_uncaptured` compares a graph with the same optimisers and buffers without it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import functools
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any
from unittest import mock

import machine
import numpy as np
import torch
from compiled import padded
from torch import Tensor
from train_step import pictures, queue

from open_tunit.config import Config
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.data.transfer import to_device
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.networks.ops import convolutions
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.state import LOGITS_QUEUE, Queue, State, new_state
from open_tunit.training.step import Step

LAZY = 4
WARM_UP = 2
"""Rounds of both kinds of step before times are taken or a graph is captured."""
RECOMPILATIONS = 64
STEPS = 4
SURE = 100.0
"""Factor on E's domain head: a new one's pseudo labels are ties that rounding decides."""
NETWORKS = ("E", "G", "D")
Changes = dict[str, Tensor]
TENSORS = ("x", "x_plus", "x_domain", "x_content", "labels", "unlabelled", "permutation")
PLAIN = ("eager", "cudnn_benchmark", "contiguous", "graph", "graph+cudnn_benchmark", "graph+contiguous")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, nargs="+", default=[32])
    parser.add_argument("--variants", nargs="+", default=PLAIN)
    parser.add_argument("--half", choices=("on", "off"), default="on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile-only", action="store_true", help="fill the compiler's cache, and measure nothing")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    keep_freed_memory()
    half = arguments.half == "on" and "bfloat16" in machine.precisions(device)
    path = machine.results_path("gpu_variants", device)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    for batch in arguments.batch:
        config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
        config = config.replace(
            {
                "training.batch": batch,
                "training.r1_every": LAZY,
                "training.joint_start": 1,
                "training.prototypes_start": 0.0,
            }
        )
        start = new_state(Plan.of(config), device)
        with torch.no_grad():
            for E in (start.E, start.E_ema):
                E.domain_head.weight.mul_(SURE)
        if arguments.compile_only:
            with switched(frozenset({"compiled"})):
                Runner(config, start, frozenset({"compiled"}), half)
            continue
        expected: dict[str, Changes] = {}
        for name in ("eager", *(name for name in arguments.variants if name != "eager")):
            row: dict[str, Any] = {
                "preset": arguments.preset,
                "size": config.model.size,
                "batch": batch,
                "half": half,
                "variant": name,
            }
            about = dict(row)
            try:
                with switched(frozenset(name.split("+"))):
                    measure(row, config, start, frozenset(name.split("+")), half, arguments.rounds, expected)
            except Exception as error:  # the next variant may run all the same
                traceback.print_exc()
                row["error"] = f"{type(error).__name__}: {error}"[:300]
            rows = [old for old in rows if any(old[key] != value for key, value in about.items())] + [row]
            machine.write("gpu_variants", device, {"rows": rows})
            print(row, flush=True)


def measure(
    row: dict[str, Any],
    config: Config,
    start: State,
    ways: frozenset[str],
    half: bool,
    rounds: int,
    expected: dict[str, Changes],
) -> None:
    """Adds seconds of a step with and without R1, peak memory, kernels, how far the weights are from `expected`."""
    device = start.keys.rows.device
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    begun = time.perf_counter()
    runner = Runner(config, start, ways, half)
    machine.synchronise(device)
    row["warm_up_seconds"] = time.perf_counter() - begun
    kinds = {"with_r1": functools.partial(runner.step, 0), "without_r1": functools.partial(runner.step, 1)}
    seconds = machine.by_turns(kinds, device, rounds)
    row |= {f"seconds_{name}": statistics.median(times) for name, times in seconds.items()}
    row["seconds_lazy"] = (row["seconds_with_r1"] + (LAZY - 1) * row["seconds_without_r1"]) / LAZY
    if device.type == "cuda":
        row["peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
        row["reserved_mib"] = torch.cuda.max_memory_reserved(device) / 2**20
    found = changes(runner)
    if ways == {"eager"}:
        expected["eager"] = found
        row["noise"] = differences(changes(runner), found)
    else:
        row["weights"] = differences(found, expected["eager"])
    if device.type == "cuda" and (ways == {"eager"} or ways == {"graph"}):
        row["without_r1"] = machine.kernels(kinds["without_r1"], device)
    if ways == {"graph"}:
        del runner, kinds
        gc.collect()
        row["weights_uncaptured"] = differences(found, changes(Runner(config, start, frozenset({"uncaptured"}), half)))


def changes(runner: Runner) -> Changes:
    """What STEPS steps from the start add to the weights."""
    runner.restart()
    before = {name: weights(runner.state, name) for name in NETWORKS}
    for index in range(STEPS):
        runner.step(index)
    return {name: weights(runner.state, name) - before[name] for name in NETWORKS}


def weights(state: State, name: str) -> Tensor:
    return torch.cat([p.detach().flatten() for p in getattr(state, name).parameters()])


def differences(found: Changes, expected: Changes) -> dict[str, float]:
    return {name: float((found[name] - change).norm() / change.norm()) for name, change in expected.items()}


@contextlib.contextmanager
def switched(ways: frozenset[str]) -> Iterator[None]:
    """What holds for the whole process while a variant runs."""
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = "cudnn_benchmark" in ways
    # inductor foresees the strides of replicated padding's gradient wrongly in channels last
    padding = mock.patch.object(convolutions.F, "pad", padded) if "compiled" in ways else contextlib.nullcontext()
    try:
        with machine.tf32(False), padding:
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark


class Runner:
    """The step of a variant, with networks of its own; warm."""

    def __init__(self, config: Config, start: State, ways: frozenset[str], half: bool) -> None:
        device = start.keys.rows.device
        self.config, self.start = config, start
        self.state = copy.deepcopy(start)
        if "contiguous" in ways:
            for name in (*NETWORKS, "E_ema", "G_ema"):
                getattr(self.state, name).to(memory_format=torch.contiguous_format)
        for rows, values in zip((self.state.keys, self.state.logits), self._queues(), strict=True):
            rows.push(values.to(device))
        self.batch = pictures(config, device)
        self.phase = Plan.of(config).phase(1)
        if "compiled" in ways:
            for part in (self.state.G.encoder, self.state.G.decoder, self.state.D):
                part.compile(dynamic=False)  # anew for each shape and each set of weights that learn
            torch._dynamo.config.recompile_limit = RECOMPILATIONS
        if ways & {"graph", "uncaptured"}:
            self.graphs: GraphStep | None = GraphStep(Plan.of(config), half)
            self.graphs.begin(self.state, self.batch, self.phase, capture="graph" in ways)
        else:
            self.graphs = None
            self.eager = EagerPenalty(Plan.of(config), half)
            for _ in range(WARM_UP):
                for index in (0, 1):
                    self.step(index)

    def step(self, index: int) -> None:
        """With R1 where LAZY divides the index."""
        phase = dataclasses.replace(self.phase, generator_steps=index)
        if self.graphs is None:
            self.state.step = 1
            self.eager(self.state, self.batch, phase)
        else:
            self.graphs.replay(self.state, self.batch, phase)

    @torch.no_grad()
    def restart(self) -> None:
        """New weights and queues where the old ones are; the optimisers keep nothing of the warm-up."""
        for name in (*NETWORKS, "E_ema", "G_ema"):
            getattr(self.state, name).load_state_dict(getattr(self.start, name).state_dict())
        for optimiser in (self.state.opt_E, self.state.opt_G, self.state.opt_D):
            for values in optimiser.state.values():
                for value in values.values():
                    value.zero_()
        for rows, values in zip((self.state.keys, self.state.logits), self._queues(), strict=True):
            rows.rows.copy_(values)

    def _queues(self) -> tuple[Tensor, Tensor]:
        """Full ones, of the host."""
        shape = LOGITS_QUEUE, self.config.model.domains
        logits = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        return queue(self.config, torch.device("cpu")), logits


class EagerPenalty(Step):
    """The step, in which R1 never runs compiled code: it is differentiated twice."""

    def _penalised(self, state: State, *arguments: Any) -> Any:
        compiled, state.D._compiled_call_impl = state.D._compiled_call_impl, None
        try:
            return super()._penalised(state, *arguments)
        finally:
            state.D._compiled_call_impl = compiled


class StaticQueue(Queue):
    """A full queue whose rows stay where they are."""

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        self.rows.copy_(torch.cat([self.rows, rows.detach().to(self.rows.dtype)])[-self.size :])


class Transfers:
    """Stands in for `to_device` in the views: what a step brings from the host, at fixed addresses.

    The values are those of the first step: what a graph replays with other draws takes no more time.
    """

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        self.place = 0

    def __call__(self, values: np.ndarray | Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        if self.place == len(self.kept):
            self.kept.append(to_device(values, device, dtype))
        self.place += 1
        return self.kept[self.place - 1]


class GraphStep(EagerPenalty):
    """The step as two CUDA graphs, with R1 and without; on a CPU the same arrangement without graphs."""

    def begin(self, state: State, batch: Batch, phase: Phase, *, capture: bool) -> None:
        """Warm up, and capture, which a CPU cannot."""
        hold = object.__setattr__  # the step is frozen
        cuda = batch.x.device.type == "cuda"
        hold(self, "transfers", Transfers())
        hold(self, "rate", torch.zeros((), dtype=None if cuda else torch.float64, device=batch.x.device))
        hold(self, "held", dataclasses.replace(batch, **{name: getattr(batch, name).clone() for name in TENSORS}))
        hold(self, "graphs", {})
        state.keys, state.logits = (_static(each) for each in (state.keys, state.logits))
        for optimiser in (state.opt_E, state.opt_G, state.opt_D):
            for group in optimiser.param_groups:
                group["capturable"] = cuda
        kinds = {index: dataclasses.replace(phase, generator_steps=index) for index in (0, 1)}
        stream = torch.cuda.Stream() if cuda else None
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream())
        self._fill_rate(phase)
        with torch.cuda.stream(stream) if cuda else contextlib.nullcontext():
            for _ in range(WARM_UP):
                for kind in kinds.values():
                    self._once(state, kind)
        if stream is None or not capture:
            return
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        pool = torch.cuda.graph_pool_handle()
        for index, kind in kinds.items():
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                terms = self._once(state, kind)
            self.graphs[index] = graph, terms

    def replay(self, state: State, batch: Batch, phase: Phase) -> None:
        """A step: the batch into its place, the graph, the averages."""
        for name in TENSORS:
            getattr(self.held, name).copy_(getattr(batch, name))
        self._fill_rate(phase)
        kind = min(phase.generator_steps % LAZY, 1)
        if self.graphs:
            self.graphs[kind][0].replay()
        else:
            self._once(state, phase)
        state.step = 1
        super()._update_averages(state, phase)

    def _once(self, state: State, phase: Phase) -> Any:
        """The step without a look at the losses, which the host would wait for."""
        state.step, self.transfers.place = 1, 0
        with mock.patch.object(views, "to_device", self.transfers):
            return self(state, self.held, phase)

    def _fill_rate(self, phase: Phase) -> None:
        self.rate.fill_(phase.guiding_learning_rate)

    def _prepare(self, state: State, phase: Phase) -> None:
        super()._prepare(state, phase)
        for group in state.opt_E.param_groups:
            group["lr"] = self.rate

    def _update_averages(self, state: State, phase: Phase) -> None:
        """Done after the graph: their decay changes from step to step."""


def _static(old: Queue) -> StaticQueue:
    assert len(old.rows) == old.size, f"the queue has {len(old.rows)} rows of {old.size}; expected a full one"
    return StaticQueue(old.size, old.rows)


if __name__ == "__main__":
    sys.exit(main())
