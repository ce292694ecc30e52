"""A stand-in for a device without float64: tensors of the CPU, of which those that were brought there are known.

A function that makes float64 of a tensor that is still on the device raises what Apple's GPUs raise, and one that
takes tensors of both raises what PyTorch raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

MOVES = ("to", "copy_", "cpu", "type_as")


@contextmanager
def without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it all tensors are on such a device, but for those made of NumPy's arrays, and of `Tensor.cpu`.

    Tensors made of numbers alone, or moved to a place by its name, count as being where they are needed.
    """
    with monkeypatch.context() as patch, _Device():
        patch.setattr("open_tunit.device.has_float64", lambda device: False)
        yield


class _Device(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self._on_cpu: dict[int, Tensor] = {}
        self._anywhere: dict[int, Tensor] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        placed = [x for x in given if id(x) not in self._anywhere]
        on_cpu = [x for x in placed if id(x) in self._on_cpu or x.dtype == torch.float64]
        on_device = [x for x in placed if id(x) not in map(id, on_cpu) and x.dim()]
        if on_device and name not in MOVES and any(x.dim() for x in on_cpu):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        if name == "cpu":
            return _noted(args[0].clone(), self._on_cpu)
        result = function(*args, **kwargs)
        if name == "to" and any(isinstance(x, torch.device) for x in (*args, *kwargs.values())):
            return _noted(result.clone(), self._anywhere)
        for made in (x for x in tree_leaves(result) if isinstance(x, Tensor)):
            if on_cpu:
                _noted(made, self._on_cpu)
            elif not placed:
                _noted(made, self._anywhere)
            elif made.dtype == torch.float64:
                raise TypeError(f"{name}: cannot convert a tensor of this device to float64")
        return result


def _noted(x: Tensor, among: dict[int, Tensor]) -> Tensor:
    among[id(x)] = x  # held, so that no other tensor gets its id
    return x
