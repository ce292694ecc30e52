"""Translation: speed beside the plain way, and the memory of `tunit translate` on a folder; JSON by machine.

python benchmarks/translate.py [speed] [--references 16 --device auto --rounds 5]
    One source redrawn with 16 references at 128 px: translate.json. The plain way, per pair: E on the reference, G's
    encoder and G's decoder as published, in float32.
python benchmarks/translate.py memory [--counts 250 2000]
    Peak memory of a fresh process that redraws that many sources with one reference: translate_memory.json.
python benchmarks/translate.py folder [--counts 500 --device auto]
    Pictures per second of `tunit translate`, an untrained model of 128 px and width 64: translate_folder.json.

On a GPU float32 is measured with TF32 off; ways ending in _tf32 have it on.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch
from PIL import Image
from reference_step import Values, decode, encode
from torch import Tensor

from open_tunit import TUNIT, Config
from open_tunit.cli.main import main as tunit
from open_tunit.device import choose_device, keep_freed_memory

SIZE = 128
SHAPE = (320, 240)
"""Of the pictures of a folder."""
TARGETS = {"cpu": {"float32": 2.3, "bfloat16": 3.8}, "cuda": {"float32": 4.0, "bfloat16": 4.0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("speed", "memory", "folder"), default="speed")
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 2000])
    parser.add_argument("--size", type=int, default=SIZE)
    arguments = parser.parse_args()
    if arguments.what == "memory":
        memory(arguments.counts)
        return
    device = choose_device(arguments.device)
    keep_freed_memory()
    model = untrained(arguments.size)
    if arguments.what == "folder":
        folders(model, device, arguments.counts)
        return
    model.to(device)
    shape = (3, arguments.size, arguments.size)
    source, references = (torch.rand(n, *shape).to(device) * 2 - 1 for n in (1, arguments.references))
    plain = Values(model.G)

    @torch.inference_mode()
    def published() -> Tensor:
        pairs = [
            decode(plain, encode(plain, source, model.config), model.E(reference[None]).style, model.config)
            for reference in references
        ]
        return torch.cat(pairs)

    def ours(half: bool) -> Tensor:
        model.in_bfloat16 = half
        drawn: Tensor = model.translate(source, references)
        return drawn

    half = {name: name == "bfloat16" for name in machine.precisions(device)}
    ways = {"published": published} | {name: functools.partial(ours, half[name]) for name in half}
    result = compared(ways, model, plain, device, arguments.rounds)
    machine.write("translate", device, {"size": arguments.size, "references": arguments.references, **result})
    for name, value in result.items():
        print(name, value)


def untrained(size: int) -> TUNIT:
    torch.manual_seed(0)
    return TUNIT(Config.preset("paper", data="unused", out="unused", size=size).model).eval()


def in_float32(way: Callable[[], Tensor], allowed: bool) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with machine.tf32(allowed):
            return way()

    return run


def compared(
    ways: dict[str, Callable[[], Tensor]], model: TUNIT, plain: Values, device: torch.device, rounds: int
) -> dict[str, object]:
    with_tf32 = {f"{name}_tf32": in_float32(way, True) for name, way in ways.items() if device.type == "cuda"}
    ways = {name: in_float32(way, False) for name, way in ways.items()} | with_tf32
    expected = ways["published"]()
    seconds = machine.by_turns(ways, device, rounds)
    result: dict[str, object] = {
        name: {"seconds": statistics.median(seconds[name])} for name in ways if name.startswith("published")
    }
    for name in [name for name in ways if not name.startswith("published")]:
        difference = (ways[name]() - expected).abs() * 127.5
        published = "published_tf32" if name.endswith("_tf32") else "published"
        result[name] = {
            "seconds": statistics.median(seconds[name]),
            "times_as_fast": machine.ratio(seconds[published], seconds[name]),
            "target": TARGETS.get(device.type, {}).get(name.removesuffix("_tf32")),
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


def memory(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(Path(folder) / str(count), count) for count in counts]
    machine.write("translate_memory", torch.device("cpu"), {"shape": SHAPE, "rows": rows})
    for row in rows:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


def measured(folder: Path, count: int) -> dict[str, float]:
    save_noise(folder / "sources", count)
    begun = time.perf_counter()
    peak = machine.peak_mib(translated, folder)
    return {"sources": count, "peak_mib": peak, "seconds": time.perf_counter() - begun}


def save_noise(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        noise = Image.fromarray(np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8))
        noise.resize(SHAPE).save(folder / f"{index:05d}.jpg")


def folders(model: TUNIT, device: torch.device, counts: list[int]) -> None:
    """`tunit translate` in this process, the model's loading and a warm device included; the first call warms up."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        save_noise(folder / "first", 1)
        for count in counts:
            save_noise(folder / str(count), count)
        for precision in machine.precisions(device):
            redrawn_folder(folder, "first", device, precision)
            for count in counts:
                seconds = redrawn_folder(folder, str(count), device, precision)
                rows.append({"sources": count, "precision": precision, "pictures_per_second": count / seconds})
                machine.write("translate_folder", device, {"shape": SHAPE, "size": model.config.size, "rows": rows})
                print(rows[-1])


def redrawn_folder(folder: Path, sources: str, device: torch.device, precision: str) -> float:
    reference = folder / "first" / "00000.jpg"
    words = ["translate", "--source", str(folder / sources), "--reference", str(reference), "--overwrite"]
    words += ["--model", str(folder / "model"), "--out", str(folder / "out"), "--precision", precision]
    begun = time.perf_counter()
    assert tunit([*words, "--device", str(device)]) == 0
    return time.perf_counter() - begun


def translated(folder: Path) -> None:
    """All that `tunit translate` does, with the model that comes along."""
    reference = next((folder / "sources").iterdir())
    words = ["translate", "--source", str(folder / "sources"), "--reference", str(reference)]
    assert tunit([*words, "--out", str(folder / "out"), "--device", "cpu"]) == 0


if __name__ == "__main__":
    main()
