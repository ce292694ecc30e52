"""What torch.compile would gain in G's and D's passes, which nothing here uses: compiled.json.

python benchmarks/compiled.py [--preset cpu --size 32 --batch 16 --rounds 20]
Forward and backward in bfloat16, eager and compiled by turns, and the seconds of the first compiled call. torch 2.13
(inductor) stops at the gradient of replicated padding in channels last, whose strides it foresees wrongly; for G it is
exchanged here for a concatenation of slices, in eager too.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any, cast
from unittest import mock

import machine
import torch
from torch import Tensor, nn

from open_tunit.device import keep_freed_memory
from open_tunit.networks.ops import convolutions as layers
from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan
from open_tunit.training.steps.state import new_state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    config = Config.preset(arguments.preset, data="critters:5", out="unused", size=arguments.size)
    device = torch.device("cpu")
    keep_freed_memory()
    state = new_state(Plan.of(config), device)
    x = torch.rand(arguments.batch, 3, config.model.size, config.model.size) * 2 - 1
    styles = torch.randn(arguments.batch, config.model.style_dim)
    rows = {}
    with mock.patch.object(layers.F, "pad", padded):
        for name, network, inputs in (("G", state.G, (x, styles)), ("D", state.D, (x,))):
            rows[name] = compared(network, inputs, arguments.rounds)
            print(name, rows[name])
    about = {"preset": arguments.preset, "size": config.model.size, "batch": arguments.batch}
    machine.write("compiled", device, {**about, "rows": rows})


def compared(network: nn.Module, inputs: tuple[Tensor, ...], rounds: int) -> dict[str, Any]:
    eager, compiled = passes(network, inputs), passes(cast(nn.Module, torch.compile(copy.deepcopy(network))), inputs)
    begun = time.perf_counter()
    compiled()
    first = time.perf_counter() - begun
    seconds = machine.by_turns({"eager": eager, "compiled": compiled}, torch.device("cpu"), rounds)
    return {
        "first_call_seconds": first,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "times_as_fast": machine.ratio(seconds["eager"], seconds["compiled"]),
    }


def passes(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = network(*inputs)
        output.float().square().mean().backward()
        network.zero_grad()

    return run


PAD = nn.functional.pad


def padded(x: Tensor, padding: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Tensor:
    """torch's `pad`, but for an edge replicated once, which is a concatenation."""
    if mode != "replicate":
        return PAD(x, padding, mode, value)
    for dim in range(-(len(padding) // 2), 0):
        x = torch.cat([x.narrow(dim, 0, 1), x, x.narrow(dim, x.shape[dim] - 1, 1)], dim)
    return x


if __name__ == "__main__":
    main()
