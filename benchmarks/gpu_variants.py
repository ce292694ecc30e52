"""The joint step on a GPU in other ways of running it, each alone and together: gpu_variants.json.

python benchmarks/gpu_variants.py [--preset paper --size 128 --batch 32 64 --variants graph r1_tf32 --rounds 5]
graph: CUDA graphs, as training uses them. r1_tf32, r1_contiguous, r1_benchmark: R1's pass alone with TF32 allowed, in
plain layout where the networks have channels last, with cuDNN choosing by trial. compiled: `torch.compile` of G's
encoder and decoder and of D, but for R1. Joined by +. bfloat16 but R1, TF32 off. With `--half off` all is float32.
Rows of the same networks, batch and variant are replaced.

The first row is always eager. `weights` compares the change of each network's weights after STEPS steps with the eager
step's from the same state: the norm of the difference by that of the change. `noise` is that of a second eager run,
since a GPU adds in any order. The row of r1_tf32 has the errors of R1's gradient, with TF32 and without: the norm of
the difference from float64's by its norm, of a new D and of the one after this row's steps, on ERROR_BATCH images.
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
import time
import traceback
from collections.abc import Iterator
from typing import Any
from unittest import mock

import machine
import torch
from compiled import padded
from r1_precision import gradient
from torch import Tensor, nn
from train_step import pictures, queue

from open_tunit.data.batches import Batch
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.networks.ops import convolutions
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps import objectives
from open_tunit.training.steps.graphs import WARM_UP, Steps
from open_tunit.training.steps.state import LOGITS_QUEUE, State, new_state
from open_tunit.training.steps.step import Step

LAZY = 4
RECOMPILATIONS = 64
STEPS = 4
SURE = 100.0
"""Factor on E's domain head: a new one's pseudo labels are ties that rounding decides."""
NETWORKS = ("E", "G", "D")
Changes = dict[str, Tensor]
PLAIN = ("eager", "graph", "r1_tf32", "r1_contiguous", "r1_benchmark")
LAZILY = {
    "training.r1_every": LAZY,
    "training.joint_start": 1,
    "training.prototypes_start": 0.0,
    "training.pair_weight": 0.0,
}
ERROR_BATCH = 8


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
        config = config.replace({"training.batch": batch, **LAZILY})
        plan = Plan.of(config)
        start = new_state(plan, device)
        with torch.no_grad():
            for E in (start.E, start.E_ema):
                E.domain_head.weight.mul_(SURE)
        if arguments.compile_only:
            with switched(frozenset({"compiled"})):
                Runner(plan, start, frozenset({"compiled"}), half)
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
                    measure(row, plan, start, frozenset(name.split("+")), half, arguments.rounds, expected)
            except Exception as error:  # the next variant may run all the same
                traceback.print_exc()
                row["error"] = f"{type(error).__name__}: {error}"[:300]
            rows = [old for old in rows if any(old[key] != value for key, value in about.items())] + [row]
            machine.write("gpu_variants", device, {"rows": rows})
            print(row, flush=True)


def measure(
    row: dict[str, Any],
    plan: Plan,
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
    runner = Runner(plan, start, ways, half)
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
    if ways == {"r1_tf32"}:
        row["error_of_r1"] = {
            "new": errors(plan.config, start, runner.batch.x),
            "later": errors(plan.config, runner.state, runner.batch.x),
        }
    if runner.refused:
        row["error"] = runner.refused[0]


def errors(config: Config, state: State, x: Tensor) -> dict[str, float]:
    """Of R1's gradient by D's weights, relative to float64's."""
    x = x[:ERROR_BATCH]
    domains = torch.arange(len(x), device=x.device) % config.model.domains
    exact = gradient(config, copy.deepcopy(state.D).double(), x.double(), domains, 0.0)
    found = {}
    for name in ("float32", "tf32"):
        with machine.tf32(name == "tf32"):
            difference = gradient(config, state.D, x, domains, 0.0) - exact
        found[name] = float(difference.norm() / exact.norm())
    return found


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
    # inductor foresees the strides of replicated padding's gradient wrongly in channels last
    padding = mock.patch.object(convolutions.F, "pad", padded) if "compiled" in ways else contextlib.nullcontext()
    with machine.tf32(False), padding:
        yield


class Runner:
    """The step of a variant, with networks of its own; warm."""

    def __init__(self, plan: Plan, start: State, ways: frozenset[str], half: bool) -> None:
        device = start.keys.rows.device
        self.plan, self.start = plan, start
        self.state = copy.deepcopy(start)
        for rows, values in zip((self.state.keys, self.state.logits), self._queues(), strict=True):
            rows.push(values.to(device))
        self.batch = pictures(plan.config, device)
        self.phase = plan.phase(1)
        if "compiled" in ways:
            for part in (self.state.G.encoder, self.state.G.decoder, self.state.D):
                part.compile(dynamic=False)  # anew for each shape and each set of weights that learn
            torch._dynamo.config.recompile_limit = RECOMPILATIONS
        self.way = Penalised(plan, half)
        object.__setattr__(self.way, "ways", ways)  # the step is frozen
        self.refused: list[str] = []
        self.take = Steps.on(device, self.refused.append) if "graph" in ways else Steps(None)
        for _ in range(WARM_UP + 1):
            for index in (0, 1):
                self.step(index)

    def step(self, index: int) -> None:
        """With R1 where LAZY divides the index."""
        self.state.step = 1
        self.take(
            self.way, self.state, self.batch, dataclasses.replace(self.phase, generator_steps=index, joint_steps=index)
        )

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
        shape = LOGITS_QUEUE, self.plan.config.model.domains
        logits = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        return queue(self.plan.config, torch.device("cpu")), logits


class Penalised(Step):
    """The step with another way for R1's pass."""

    ways: frozenset[str] = frozenset()

    def _penalised(
        self, state: State, batch: Batch, domains: Tensor, reference_domains: Tensor
    ) -> objectives.Objective:
        with contextlib.ExitStack() as stack:
            if "compiled" in self.ways:  # which cannot be differentiated twice
                stack.enter_context(mock.patch.object(state.D, "_compiled_call_impl", None))
            if "r1_tf32" in self.ways:
                rough = functools.partial(machine.tf32, True)
                stack.enter_context(mock.patch("open_tunit.training.steps.step.exact_float32", rough))
            if "r1_contiguous" in self.ways:
                stack.enter_context(contiguous(state.D))
                batch = dataclasses.replace(batch, x=batch.x.contiguous())
            if "r1_benchmark" in self.ways:
                stack.enter_context(by_trial())
            return super()._penalised(state, batch, domains, reference_domains)


@contextlib.contextmanager
def by_trial() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@functools.lru_cache(maxsize=1)
def same_layers(D: nn.Module) -> nn.Module:
    return copy.deepcopy(D)


@contextlib.contextmanager
def contiguous(D: nn.Module) -> Iterator[None]:
    """D in plain layout for a while, by copies of its weights."""
    weights = {name: p.contiguous() for name, p in D.named_parameters()}
    shadow = same_layers(D)

    def forward(x: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(shadow, weights, (x,))
        return found

    def pooled(self: convolutions.PooledConv, x: Tensor) -> Tensor:
        kernel = convolutions.recombined(self.weight, self.taps).unflatten(1, (4, 4)).permute(0, 3, 1, 2)
        return convolutions.F.conv2d(x, kernel.contiguous(), self.bias, stride=2, padding=1)

    with mock.patch.object(D, "forward", forward), mock.patch.object(convolutions.PooledConv, "forward", pooled):
        yield


if __name__ == "__main__":
    main()
