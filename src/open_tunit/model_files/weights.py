"""A model folder's model.safetensors. A file may come from a stranger: its header is compared before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from open_tunit.files import write_atomic

BEGINNERS = {"normal_", "uniform_", "zero_", "fill_", "kaiming_normal_", "kaiming_uniform_", "zeros_", "ones_"}
"""Functions by which weights begin."""
LFS_POINTER = b"version https://git-lfs"
LONGEST_HEADER = 2**20
"""Bytes; ours have ten thousand."""
LONGEST_MESSAGE = 160
KINDS = {"F64", "F32", "F16", "BF16"}, {"I64"}
"""The header's names of what may stand for floats and for integers."""


def read_weights(
    path: Path, expected: Mapping[str, Tensor], *, optional: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The tensors of the file, which has the names and shapes of `expected` (they may be on the meta device).

    Those of `optional` may be missing. Raises ValueError, in a line, where the file is another one; nothing of its
    size is allocated before that is known.
    """
    optional = optional or {}
    try:
        _check_start(path, most_bytes=sum(value.numel() * 8 for value in (*expected.values(), *optional.values())))
        with safetensors.safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            wanted = {**expected, **{name: value for name, value in optional.items() if name in found}}
            _compare({name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}, wanted)
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())[:LONGEST_MESSAGE]
        raise ValueError(f"{path} is not this model's safetensors file: {reason}") from error


def write_weights(path: Path, state: Mapping[str, Tensor], *, halved: str | None) -> None:
    """Write the tensors atomically; floats whose names begin with `halved` (all begin with "") in float16."""

    def stored(name: str, value: Tensor) -> Tensor:
        half = halved is not None and name.startswith(halved) and value.is_floating_point()
        return (value.half() if half else value).contiguous()

    tensors = {name: stored(name, value) for name, value in state.items()}
    write_atomic(path, lambda target: safetensors.torch.save_file(tensors, target))


class ShapesOnly(TorchFunctionMode):
    """Networks built within have their parameters on the meta device, which takes neither memory nor time.

    `torch.device("meta")` has it too, but computes constants there as well, which imports the compiler: seconds.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `function`, but leave parameters empty."""
        kwargs = kwargs or {}
        if function is torch.empty:
            return function(*args, **{**kwargs, "device": "meta"})
        first = args[0] if args else kwargs.get("tensor")
        if isinstance(first, Tensor) and first.is_meta and getattr(function, "__name__", "") in BEGINNERS:
            return first
        return function(*args, **kwargs)


def _check_start(path: Path, most_bytes: int) -> None:
    with open(path, "rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise ValueError("it is a Git LFS pointer, not the weights; run git lfs pull where it was cloned")
    length = int.from_bytes(start[:8], "little")
    if length > LONGEST_HEADER:
        raise ValueError("it does not begin as such a file does")
    if path.stat().st_size > 8 + length + most_bytes:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, more than this model's weights")


def _compare(found: Mapping[str, tuple[tuple[int, ...], str]], expected: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        lacks = f"it lacks {missing[0]}" if missing else f"it also has {unknown[0]}"
        raise ValueError(f"{lacks} ({len(missing)} tensors missing, {len(unknown)} unknown)")
    for name, (shape, kind) in found.items():
        wanted = tuple(expected[name].shape)
        if shape != wanted:
            raise ValueError(f"{name} is {shape}, expected {wanted}")
        if kind not in KINDS[not expected[name].is_floating_point()]:
            raise ValueError(f"{name} is of type {kind}")
