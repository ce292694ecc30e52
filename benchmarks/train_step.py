"""The joint training step beside the published one, by turns in one process: train_step_*.json.

python benchmarks/train_step.py [--preset paper --size 64 --batch 8 --device auto --rounds 5]
Where the preset is not the paper's, there is no published step. On a GPU float32 is measured with TF32 off, in
convolutions and in matrix products, R1 included; rows ending in _tf32 have it on in both, and are compared with the
published step that has.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import machine
import numpy as np
import torch
from reference_step import Reference
from torch import Tensor

from open_tunit.data import views
from open_tunit.data.batches import Batch, PairTargets
from open_tunit.device import choose_device, keep_freed_memory
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.methods import make_step
from open_tunit.training.steps.state import State, new_state

LAZY = 4
"""Steps between gradient penalties in the lazy variant."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to compute the step."""

    half: bool | None
    """Whether the bulk is in bfloat16; None = the published step."""
    every: int = 1
    """Steps between gradient penalties."""
    tf32: bool = False


VARIANTS = {
    "reference": Variant(None),
    "float32": Variant(False),
    "float32_lazy_r1": Variant(False, LAZY),
    "bfloat16": Variant(True),
    "bfloat16_lazy_r1": Variant(True, LAZY),
}
WITH_TF32 = {
    f"{name}_tf32": dataclasses.replace(VARIANTS[name], tf32=True)
    for name in ("reference", "float32", "bfloat16", "bfloat16_lazy_r1")
}
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
    parser.add_argument("--gradient-batch", type=int, help="of the comparison with float64; as --batch if not given")
    arguments = parser.parse_args()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    if arguments.batch:
        config = config.replace({"training.batch": arguments.batch})
    device = choose_device(arguments.device)
    keep_freed_memory()
    precisions = machine.precisions(device)
    about: dict[str, Any] = {
        "preset": arguments.preset,
        "size": config.model.size,
        "batch": config.training.batch,
        "ceilings_gflops": ceilings(device, precisions),
    }
    if device.type == "cuda":
        about["relative_error_of_float32"] = machine.float32_errors(device)

    def write(**more: Any) -> None:
        about.update(more)
        machine.write(f"train_step_{arguments.preset}_{config.model.size}", device, about)

    write()
    runs, flops, memory = {}, {}, {}
    for name, variant in variants(config, device, precisions).items():
        runs[name], flops[name], memory[name] = prepared(config, variant, device)
        write(peak_mib=memory, flop_of_a_call=flops)  # what is left where the rows are not reached
    seconds = machine.by_turns(runs, device, arguments.rounds)
    rows = [row(config, name, seconds, flops[name], memory[name], device) for name in runs]
    write(rows=rows)
    show(about)
    if device.type == "cuda":
        launched = {}
        for name in ("reference", "float32", "bfloat16"):
            if name in runs:
                launched[name] = machine.kernels(runs[name], device)
                write(kernels_of_a_step=launched)
                print("kernels", name, launched[name])
    runs.clear()
    if config.preset_name == "paper":
        few = config.replace({"training.batch": arguments.gradient_batch or config.training.batch})
        with machine.tf32(False):
            write(first_gradient_difference=gradient_differences(few, device, precisions))
        print("first_gradient_difference", about["first_gradient_difference"])


def ceilings(device: torch.device, precisions: list[str]) -> dict[str, dict[str, float]]:
    with machine.tf32(False):
        found = {name: machine.ceilings(device, getattr(torch, name)) for name in precisions}
    if device.type == "cuda":
        with machine.tf32(True):
            found["tf32"] = machine.ceilings(device, torch.float32)
    return found


def variants(config: Config, device: torch.device, precisions: list[str]) -> dict[str, Variant]:
    found = VARIANTS | (WITH_TF32 if device.type == "cuda" else {})
    return {
        name: variant
        for name, variant in found.items()
        if (variant.half is not None or config.preset_name == "paper")
        and (not variant.half or "bfloat16" in precisions)
        and (variant.every == 1 or config.recipe != "pretrained")  # which has no gradient penalty
    }


def prepared(config: Config, variant: Variant, device: torch.device) -> tuple[Callable[[], object], int, float]:
    """The step with networks of its own; the operations of a call; the peak memory in MiB."""
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    run = made(config, variant, device)
    operations = counted(run)
    if device.type != "cuda":
        return run, operations, machine.peak_mib(alone, config, variant, device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    peak = torch.cuda.max_memory_allocated(device) - before  # others' networks lie in `before`
    return run, operations, peak / 2**20


def made(config: Config, variant: Variant, device: torch.device) -> Callable[[], object]:
    batch, state = pictures(config, device), new_state(Plan.of(config), device)
    if variant.half is None:
        reference = reference_of(config, state, batch)
        del state

        def plain() -> object:
            return reference.step(batch.x, batch.x_plus, batch.permutation)
    else:
        plain = ours(config, state, batch, half=variant.half, every=variant.every)

    def run() -> object:
        with machine.tf32(variant.tf32):
            return plain()

    return run


def ours(config: Config, state: State, batch: Batch, *, half: bool, every: int) -> Callable[[], object]:
    """A call is `every` steps, of which one has the gradient penalty."""
    timed = {
        "training.r1_every": every,
        "training.joint_start": 1,
        "training.prototypes_start": 0.0,
    }
    timed |= {"training.pair_steps": 1} if batch.pairs is not None else {"training.pair_weight": 0.0}
    plan = Plan.of(config.replace(timed))
    step, phase = make_step(plan, half=half), plan.phase(1)
    state.keys.push(queue(config, batch.x.device).to(batch.x.dtype))

    def run() -> None:
        for index in range(every):
            step(state, batch, dataclasses.replace(phase, generator_steps=index, joint_steps=index))

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
        translation_numbers=views.numbers(x, views.draw(np.random.default_rng(0), count), Plan.of(config).views),
        labels=torch.full((count,), -1, device=device),
        unlabelled=torch.arange(count, device=device),
        permutation=torch.randperm(count, generator=generator).to(device),
        **(frozen_codes(config, x) if config.recipe == "pretrained" else {}),
    )


def frozen_codes(config: Config, x: Tensor) -> dict[str, Any]:
    """What a fitted E gives for a batch, and a pair for each of its images."""
    generator = torch.Generator().manual_seed(1)
    styles = torch.randn(len(x), config.model.style_dim, generator=generator).to(x)
    every = torch.arange(len(x), device=x.device)
    pairs = PairTargets(every, x.flip(0), torch.ones(len(x)).to(x), styles.flip(0))
    return {"styles": styles, "domains": every % config.model.domains, "pairs": pairs}


def queue(config: Config, device: torch.device) -> Tensor:
    shape = (config.training.queue, config.model.style_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)


def counted(run: Callable[[], object]) -> int:
    with machine.Operations() as operations:
        run()
    return operations.total


def row(
    config: Config, name: str, seconds: dict[str, list[float]], flops: int, peak_mib: float, device: torch.device
) -> dict[str, object]:
    variant = (VARIANTS | WITH_TF32)[name]
    every = variant.every
    median = statistics.median(seconds[name]) / every
    found: dict[str, object] = {
        "name": name,
        "tf32": variant.tf32,
        "seconds": median,
        "seconds_least_most": [min(seconds[name]) / every, max(seconds[name]) / every],
        "seconds_per_1000_images": 1000 * median / config.training.batch,
        "gflop": flops / every / 1e9,
        "gflops": flops / every / 1e9 / median,
        "peak_mib": peak_mib,
    }
    published = "reference_tf32" if variant.tf32 else "reference"
    if variant.half is not None and published in seconds:
        found["compared_with"] = published
        found["times_as_fast"] = machine.ratio([every * s for s in seconds[published]], seconds[name])
        found["target"] = TARGETS.get(device.type, {}).get(name.removesuffix("_tf32"))
    return found


def alone(config: Config, variant: Variant, device: torch.device) -> None:
    """The same step in a process of its own."""
    keep_freed_memory()
    run = made(config, variant, device)
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


def show(result: dict[str, Any]) -> None:
    print(f"{result['preset']}, {result['size']} px, batch {result['batch']}, torch {torch.__version__}")
    for each in result["rows"]:
        fast = each.get("times_as_fast")
        reached = (
            f"{fast['median']:.2f}x ({fast['least']:.2f} to {fast['most']:.2f}), target {each['target'] or 'none'}"
            if fast
            else ""
        )
        print(
            f"{each['name']:21} {each['seconds']:7.4f} s  {each['seconds_per_1000_images']:6.1f} s/1000 images  "
            f"{each['gflops']:6.0f} GFLOP/s  {each['peak_mib']:6.0f} MiB  {reached}"
        )
    for name in ("ceilings_gflops", "relative_error_of_float32"):
        if name in result:
            print(name, result[name])


if __name__ == "__main__":
    main()
