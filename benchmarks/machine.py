"""What the benchmarks share: the hardware, its ceilings, timing by turns, operations, memory, results as JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from open_tunit.device import describe, use_half

Result = TypeVar("Result")
RESULTS = Path(__file__).parent / "results"
OUT = os.environ.get("OUT")
"""A folder for the results instead of RESULTS/MACHINE."""
SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the multiplied matrices."""
CHANNELS, PIXELS, IMAGES = 128, 64, {"cpu": 8, "cuda": 256}
"""Of the convolution whose speed is the ceiling."""


def write(name: str, device: torch.device, result: Mapping[str, Any]) -> None:
    """Writes results_path(name, device), with the commit and the hardware."""
    path = results_path(name, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"commit": commit(), "machine": hardware(device), "torch": torch.__version__, **result}, indent=1)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def results_path(name: str, device: torch.device) -> Path:
    """OUT/NAME.json, or benchmarks/results/MACHINE/NAME.json.

    MACHINE is the GPU's name, or the CPU's vector instructions and model, as cpu-avx512-amd-epyc-9v74.
    """
    if OUT:
        return Path(OUT) / f"{name}.json"
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    else:
        kind = f"{device.type} {torch.backends.cpu.get_cpu_capability()} {processor()[0]}"
    return RESULTS / re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-") / f"{name}.json"


def precisions(device: torch.device) -> list[str]:
    """What the hardware multiplies in: float32, and bfloat16 unless that were emulated, many times slower."""
    if use_half("auto", device):
        return ["float32", "bfloat16"]
    print("bfloat16 is left out: this processor does not multiply in it")
    return ["float32"]


def commit() -> str:
    """The commit measured, with -dirty where anything but the results differs from it; COMMIT where git knows none."""
    short = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results")
    return (short or os.environ.get("COMMIT", "unknown")) + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def hardware(device: torch.device) -> str:
    name, cores = processor()
    return f"{describe(device)}; {name}, {cores} cores"


def processor() -> tuple[str, int]:
    """The CPU's model and its number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0], len(names)) if names else (platform.processor(), os.cpu_count() or 1)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA multiplies float32 in TF32, in convolutions and in matrix products; PyTorch does in convolutions."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def float32_errors(device: torch.device) -> dict[str, dict[str, float]]:
    """Relative error of a float32 convolution and matrix product against float64, with TF32 off and on."""
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(s, generator=generator).to(device) for s in ((4, 64, 16, 16), (64, 64, 3, 3)))
    a = torch.randn(512, 512, generator=generator).to(device)
    exact = {"convolution": F.conv2d(x.double(), w.double()), "matrix": a.double() @ a.double()}
    found = {}
    for allowed in (False, True):
        with tf32(allowed):
            here = {"convolution": F.conv2d(x, w), "matrix": a @ a}
        errors = {name: float((here[name] - value).norm() / value.norm()) for name, value in exact.items()}
        found["tf32" if allowed else "float32"] = errors
    return found


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def by_turns(
    functions: Mapping[str, Callable[[], object]], device: torch.device, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each call; the functions take turns, so that a busy moment meets them all. A first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            synchronise(device)
            begun = time.perf_counter()
            function()
            synchronise(device)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times as fast, turn by turn: median, least, most."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def ceilings(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """GFLOP/s of a large matrix product and of a 3x3 convolution, forward and backward; the best of five."""
    side, images = (sizes.get(device.type, sizes["cpu"]) for sizes in (SIDE, IMAGES))
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    shape, weights = (images, CHANNELS, PIXELS, PIXELS), (CHANNELS, CHANNELS, 3, 3)
    x, w = (torch.randn(s, device=device, dtype=dtype) for s in (shape, weights))
    x, w = (t.contiguous(memory_format=torch.channels_last).requires_grad_() for t in (x, w))
    g = torch.randn_like(x.detach())

    def convolution() -> None:
        torch.autograd.grad(F.conv2d(x, w, padding=1), (x, w), g)

    seconds = by_turns({"matrix": lambda: a @ b, "convolution": convolution}, device, 5)
    flops = {"matrix": 2 * side**3, "convolution": 3 * 2 * 9 * CHANNELS**2 * PIXELS**2 * images}
    return {name: flops[name] / min(times) / 1e9 for name, times in seconds.items()}


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and convolutions, gradients included."""

    total = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=output)
        return output


def peak_mib(function: Callable[..., object], *arguments: object) -> float:
    """Peak memory in MiB of `function` in a fresh process."""
    return in_fresh_process(function, *arguments)[1]


def in_fresh_process(function: Callable[..., Result], *arguments: object) -> tuple[Result, float]:
    """The result and the peak memory in MiB: the GPU's where it uses one, else all of the process's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, arguments))


def _measured(function: Callable[..., Result], arguments: tuple[object, ...]) -> tuple[Result, float]:
    result = function(*arguments)
    if torch.cuda.is_initialized():
        used = max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
        if used:
            return result, used / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return result, int(line.split()[1]) / 1024  # ru_maxrss would begin at the parent's


def kernels(function: Callable[[], object], device: torch.device) -> dict[str, float]:
    """How many kernels and copies a call gives the GPU, their seconds, and the seconds of the call without a profiler.

    `busy` is the share of the call in which the GPU works.
    """
    function()
    seconds = statistics.median(by_turns({"call": function}, device, 3)["call"])
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        function()
        synchronise(device)
    on_gpu = [
        event
        for event in profile.events() or []
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    working = sum(event.time_range.elapsed_us() for event in on_gpu) / 1e6
    return {"kernels": len(on_gpu), "gpu_seconds": working, "seconds": seconds, "busy": working / seconds}
