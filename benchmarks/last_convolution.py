"""G's last convolution in blocks of pixels beside the plain one, by turns, width 64: last_convolution.json.

python benchmarks/last_convolution.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics

import machine
import torch
from torch import Tensor

from open_tunit.device import keep_freed_memory
from open_tunit.networks.ops.convolutions import ReflectConv, ThinConv

CASES = {"forward, 16 images, 128 px": (16, 128, False), "forward and backward, 16 images, 64 px": (16, 64, True)}
WIDTH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    keep_freed_memory()
    thin, plain = ThinConv(WIDTH, 3, 7, padding=3), ReflectConv(WIDTH, 3, 7, padding=3)
    for layer in (thin, plain):
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = {name: measured(thin, plain, *case, rounds) for name, case in CASES.items()}
    machine.write("last_convolution", torch.device("cpu"), {"rows": rows})
    for name, row in rows.items():
        print(name, row)


def measured(
    thin: ThinConv, plain: ReflectConv, images: int, side: int, backward: bool, rounds: int
) -> dict[str, object]:
    x = torch.randn(images, WIDTH, side, side).contiguous(memory_format=torch.channels_last).requires_grad_(backward)

    def run(layer: ReflectConv) -> Tensor:
        with torch.set_grad_enabled(backward):
            y: Tensor = layer(x)
            return torch.autograd.grad(y.sum(), (x, layer.weight))[0] if backward else y

    seconds = machine.by_turns({"plain": lambda: run(plain), "blocks": lambda: run(thin)}, torch.device("cpu"), rounds)
    found: dict[str, object] = {name: statistics.median(times) for name, times in seconds.items()}
    return found | {"times_as_fast": machine.ratio(seconds["plain"], seconds["blocks"])}


if __name__ == "__main__":
    main()
