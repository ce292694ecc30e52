"""The joint training step beside the published one, by turns in one process: train_step_*.json.

python benchmarks/train_step.py [--preset paper --size 64 --batch 8 --device auto --rounds 5]
Where the preset is not the paper's, ours is timed in float32 and bfloat16 alone.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
from collections.abc import Callable

import machine
import numpy as np
import torch
from reference_step import Reference
from torch import Tensor

from open_tunit.config import Config
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.training.plan import Plan
from open_tunit.training.state import State, new_state
from open_tunit.training.step import Step

LAZY = 4
"""Steps between gradient penalties in the lazy variant."""
OURS = {
    "float32": (False, 1),
    "float32_lazy_r1": (False, LAZY),
    "bfloat16": (True, 1),
    "bfloat16_lazy_r1": (True, LAZY),
}
"""Whether the bulk is in bfloat16, and the steps between gradient penalties."""
TARGETS = {
    "cpu": {"float32": 1.5, "bfloat16": 2.2, "bfloat16_lazy_r1": 3.0},
    "cuda": {"float32": 1.5, "bfloat16": 4.0, "bfloat16_lazy_r1": 5.0},
}
NETWORKS = ("E", "E_ema", "G", "G_ema", "D")
SURE = 100.0
"""Factor on E's domain head where gradients are compared: a new one's pseudo labels are ties that rounding decides."""
SETTLED = 1
"""Steps of a memory measurement after the first, which allocates the optimisers' state."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    if arguments.batch:
        config = config.replace({"training.batch": arguments.batch})
    device = choose_device(arguments.device)
    keep_freed_memory()
    precisions = machine.precisions(device)
    runs = steps(config, device, precisions)
    flops = {name: counted(run) for name, run in runs.items()}
    seconds = machine.by_turns(runs, device, arguments.rounds)
    rows = [row(config, name, seconds, flops[name], device) for name in runs]
    result = {
        "preset": arguments.preset,
        "size": config.model.size,
        "batch": config.training.batch,
        "ceilings_gflops": {name: machine.ceilings(device, getattr(torch, name)) for name in precisions},
        "rows": rows,
    }
    if "reference" in runs:
        result["first_gradient_difference"] = gradient_differences(config, device, precisions)
    machine.write(f"train_step_{arguments.preset}_{config.model.size}", device, result)
    show(result)


def steps(config: Config, device: torch.device, precisions: list[str]) -> dict[str, Callable[[], object]]:
    """The published step, where the preset is the paper's, and ours; each with networks of its own."""
    batch = pictures(config, device)
    state = new_state(Plan.of(config), device)
    found: dict[str, Callable[[], object]] = {}
    if config.preset_name == "paper":
        reference = reference_of(config, state, batch)
        found["reference"] = lambda: reference.step(batch.x, batch.x_plus, batch.permutation)
    for name, (half, every) in OURS.items():
        if half and "bfloat16" not in precisions:
            continue
        found[name] = ours(config, copy.deepcopy(state), batch, half=half, every=every)
    return found


def ours(config: Config, state: State, batch: Batch, *, half: bool, every: int) -> Callable[[], object]:
    """A call is `every` steps, of which one has the gradient penalty."""
    timed = {"training.r1_every": every, "training.joint_start": 1, "training.prototypes_start": 0.0}
    plan = Plan.of(config.replace(timed))
    step, phase = Step(plan, half), plan.phase(1)
    state.keys.push(queue(config, batch.x.device).to(batch.x.dtype))

    def run() -> None:
        for index in range(every):
            step(state, batch, dataclasses.replace(phase, generator_steps=index))

    return run


def pictures(config: Config, device: torch.device, dtype: torch.dtype = torch.float32) -> Batch:
    count, size = config.training.batch, config.model.size
    generator = torch.Generator().manual_seed(0)
    x, x_plus, x_domain = (
        torch.rand(count, 3, size, size, generator=generator).to(device, dtype) * 2 - 1 for _ in range(3)
    )
    return Batch(
        x=x,
        x_plus=x_plus,
        x_domain=x_domain if Plan.of(config).recipe.domain_colour else x_plus,
        x_content=x,
        translation_draws=views.draw(np.random.default_rng(0), count),
        labels=torch.full((count,), -1, device=device),
        unlabelled=torch.arange(count, device=device),
        permutation=torch.randperm(count, generator=generator).to(device),
    )


def queue(config: Config, device: torch.device) -> Tensor:
    shape = (config.training.queue, config.model.style_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)


def counted(run: Callable[[], object]) -> int:
    with machine.Operations() as operations:
        run()
    return operations.total


def row(
    config: Config, name: str, seconds: dict[str, list[float]], flops: int, device: torch.device
) -> dict[str, object]:
    every = OURS[name][1] if name in OURS else 1
    median = statistics.median(seconds[name]) / every
    found: dict[str, object] = {
        "name": name,
        "seconds": median,
        "seconds_least_most": [min(seconds[name]) / every, max(seconds[name]) / every],
        "seconds_per_1000_images": 1000 * median / config.training.batch,
        "gflop": flops / every / 1e9,
        "gflops": flops / every / 1e9 / median,
        "peak_mib": machine.peak_mib(alone, config, name, device),
    }
    if name in OURS and "reference" in seconds:
        found["times_as_fast"] = machine.ratio([every * s for s in seconds["reference"]], seconds[name])
        found["target"] = TARGETS.get(device.type, {}).get(name)
    return found


def alone(config: Config, name: str, device: torch.device) -> None:
    """The same step in a process of its own."""
    batch, state = pictures(config, device), new_state(Plan.of(config), device)
    if name == "reference":
        reference = reference_of(config, state, batch)
        del state
        for _ in range(1 + SETTLED):
            reference.step(batch.x, batch.x_plus, batch.permutation)
    else:
        keep_freed_memory()
        run = ours(config, state, batch, half=OURS[name][0], every=OURS[name][1])
        for _ in range(1 + SETTLED):
            run()


def gradient_differences(config: Config, device: torch.device, precisions: list[str]) -> dict[str, dict[str, float]]:
    """Of the first step's gradients, by network: the norm of the difference from the reference's in float64."""
    exact = first_gradients(config, device, torch.float64, None)
    found = {}
    for name in ("reference", *precisions):
        half = None if name == "reference" else name == "bfloat16"
        gradients = first_gradients(config, device, torch.float32, half)
        found[name] = {key: float((gradients[key] - g).norm() / g.norm()) for key, g in exact.items()}
    return found


def first_gradients(config: Config, device: torch.device, dtype: torch.dtype, half: bool | None) -> dict[str, Tensor]:
    """E's of its own loss, D's and G's, of our step or (None) of the reference; no network is changed."""
    start, state = new_state(Plan.of(config), device), new_state(Plan.of(config), device, dtype)
    for name in NETWORKS:
        getattr(state, name).load_state_dict(getattr(start, name).state_dict())
    with torch.no_grad():
        state.E.domain_head.weight.mul_(SURE)
    batch = pictures(config, device, dtype)
    holder = state if half is not None else reference_of(config, state, batch)
    first: dict[str, Tensor] = {}
    for name in ("E", "D", "G"):
        parameters = list(getattr(holder, name).parameters())

        def keep(name: str = name, parameters: list[Tensor] = parameters) -> None:
            if name not in first:
                first[name] = torch.cat([p.grad.double().flatten() for p in parameters if p.grad is not None]).clone()

        getattr(holder, f"opt_{name}").step = keep
    if isinstance(holder, Reference):
        holder.step(batch.x, batch.x_plus, batch.permutation)
    else:
        ours(config, holder, batch, half=bool(half), every=1)()
    return first


def reference_of(config: Config, state: State, batch: Batch) -> Reference:
    return Reference(state.E, state.G, state.D, config.model, queue(config, batch.x.device).to(batch.x.dtype))


def show(result: dict[str, object]) -> None:
    print(f"{result['preset']}, {result['size']} px, batch {result['batch']}, torch {torch.__version__}")
    rows = result["rows"]
    assert isinstance(rows, list)
    for each in rows:
        fast = each.get("times_as_fast")
        reached = (
            f"{fast['median']:.2f}x ({fast['least']:.2f} to {fast['most']:.2f}), target {each['target'] or 'none'}"
            if fast
            else ""
        )
        print(
            f"{each['name']:17} {each['seconds']:7.3f} s  {each['seconds_per_1000_images']:6.1f} s/1000 images  "
            f"{each['gflops']:5.0f} GFLOP/s  {each['peak_mib']:6.0f} MiB  {reached}"
        )
    for name in ("ceilings_gflops", "first_gradient_difference"):
        if name in result:
            print(name, result[name])


if __name__ == "__main__":
    main()
