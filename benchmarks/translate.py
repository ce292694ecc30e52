"""One source redrawn with 16 references at 128 px, beside the plain way: benchmarks/results/translate.json.

python benchmarks/translate.py [--references 16 --device auto --rounds 5]
The plain way, per pair: E on the reference, G's encoder and G's decoder as published, in float32.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import machine
import torch
from reference_step import Values, decode, encode
from torch import Tensor

from open_tunit import TUNIT, Config
from open_tunit.training.device import choose_device, keep_freed_memory

SIZE = 128
TARGETS = {"float32": 2.3, "bfloat16": 3.8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    keep_freed_memory()
    torch.manual_seed(0)
    model = TUNIT(Config.preset("paper", data="unused", out="unused", size=SIZE).model).eval().to(device)
    source, references = (torch.rand(n, 3, SIZE, SIZE).to(device) * 2 - 1 for n in (1, arguments.references))
    plain = Values(model.G)

    @torch.inference_mode()
    def published() -> Tensor:
        pairs = [
            decode(plain, encode(plain, source, model.config), model.E(reference[None]).style, model.config)
            for reference in references
        ]
        return torch.cat(pairs)

    def half() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return ours(model, source, references)

    ways = {"published": published, "float32": lambda: ours(model, source, references), "bfloat16": half}
    result = compared(ways, model, plain, device, arguments.rounds)
    machine.write("translate", device, {"size": SIZE, "references": arguments.references, **result})
    for name, value in result.items():
        print(name, value)


def ours(model: TUNIT, source: Tensor, references: Tensor) -> Tensor:
    drawn: Tensor = model.translate(source, references)
    return drawn.float()


def compared(
    ways: dict[str, Callable[[], Tensor]], model: TUNIT, plain: Values, device: torch.device, rounds: int
) -> dict[str, object]:
    expected = ways["published"]()
    seconds = machine.by_turns(ways, device, rounds)
    result: dict[str, object] = {"published": {"seconds": statistics.median(seconds["published"])}}
    for name, target in TARGETS.items():
        difference = (ways[name]() - expected).abs() * 127.5
        result[name] = {
            "seconds": statistics.median(seconds[name]),
            "times_as_fast": machine.ratio(seconds["published"], seconds[name]),
            "target": target,
            "grey_levels_mean_and_most": [float(difference.mean()), float(difference.max())],
        }
    return result | {"decoder_operations_of_published": decoder_share(model, plain, expected)}


@torch.no_grad()
def decoder_share(model: TUNIT, plain: Values, drawn: Tensor) -> float:
    """The decoder's floating-point operations for as many pictures, as a share of the published one's."""
    side = model.config.generator_bottleneck
    width = model.config.generator_width * 2**model.config.halvings
    content, code = drawn.new_zeros(len(drawn), width, side, side), drawn.new_zeros(len(drawn), model.config.style_dim)
    with machine.Operations() as fast:
        model.G.decode(content, code)
    with machine.Operations() as published:
        decode(plain, content, code, model.config)
    return fast.total / published.total


if __name__ == "__main__":
    main()
