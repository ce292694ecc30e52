"""Numbers from the host to the device of a run, without waiting for a GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray | Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`values` of the host as a tensor on the device, of `dtype` where one is given.

    A CUDA device copies from page-locked memory while the host goes on; PyTorch keeps that memory until the copy is
    made. For other kinds nothing keeps it, so the host waits (meta has nothing to copy).
    """
    tensor = torch.as_tensor(values).to(dtype=dtype)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type in ("cuda", "meta"))
