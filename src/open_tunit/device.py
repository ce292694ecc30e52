"""Where a run computes, and in which precision."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from open_tunit.settings.config import Precision

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
LARGEST_FROM_HEAP, KEPT_BYTES = 12 * 2**20, 2**30
"""Larger blocks are given back all the same, for kept they leave holes; and enough for a step of the small presets."""

OUT_OF_MEMORY = re.compile(
    "out of memory|can't allocate memory|bad_alloc|ALLOC_FAILED|could not create a (primitive|memory)|start new thread",
    re.IGNORECASE,
)
"""In the messages of PyTorch's allocators and of the libraries under it."""


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises ValueError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not available here; expected auto, cpu or an existing GPU") from error
    return device


def use_half(precision: Precision, device: torch.device) -> bool:
    """Whether the bulk of the work runs in bfloat16: as asked, or where the hardware is faster in it."""
    if precision == "auto":
        if device.type == "cuda":
            with torch.cuda.device(device):
                return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return _cpu_gains_by_half()
    return precision == "bfloat16"


def _cpu_gains_by_half() -> bool:
    """With AMX, or AMD's AVX512-BF16. Intel's without AMX is slower than float32 (docs/performance.md)."""
    if torch.cpu._is_amx_tile_supported():
        return True
    known = Path("/proc/cpuinfo")
    vendor = known.read_text(encoding="utf-8") if known.exists() else platform.processor()
    return torch.cpu._is_avx512_bf16_supported() and "AuthenticAMD" in vendor


def has_float64(device: torch.device) -> bool:
    """Whether it computes in double precision: Apple's GPUs (mps) do not."""
    return device.type != "mps"


def in_float64(x: Tensor) -> Tensor:
    """`x` in float64, on its device, or on the CPU where that has no float64; `alike` brings results back."""
    return x.double() if has_float64(x.device) else x.cpu().double()


def alike(x: Tensor, other: Tensor) -> Tensor:
    """`x` in the type and on the device of `other`; in this order, for a device without float64."""
    return x.to(other.dtype).to(other.device)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions and matrix products in true float32: on Ampere and newer GPUs they are TF32 by default.

    By PyTorch's newer names: the older, `allow_tf32`, cannot be read after them, and leave what they do not name.
    """
    cudnn: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    before = cudnn.conv.fp32_precision, products.fp32_precision
    cudnn.conv.fp32_precision = products.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision, products.fp32_precision = before


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory, of the CPU or of a GPU, did not suffice."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


@contextlib.contextmanager
def memory_for(work: str, remedy: str) -> Iterator[None]:
    """Raises MemoryError, in a line, where memory does not suffice within: for what, and what would help."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"not enough memory for {work}: {remedy}") from error


def memory_size(device: torch.device) -> int | None:
    """Bytes of the GPU's memory, or of the machine's; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def peak_memory(device: torch.device) -> int | None:
    """The most bytes of it that this process has used so far; None where that is not known, as on Windows."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu" or sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(device: torch.device) -> str:
    """A line for logs and model cards: the GPU's name, or the CPU's thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step: giving it back costs a step's time in page faults.

    Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, most in (M_MMAP_THRESHOLD, LARGEST_FROM_HEAP), (M_TRIM_THRESHOLD, KEPT_BYTES):
        mallopt(option, most)
