"""The queue of recent keys (MoCo: He et al. 2020, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


class Queue:
    """The newest rows, at most `size` of them; grows from empty."""

    def __init__(self, size: int, rows: Tensor) -> None:
        self.size = size
        self.rows = rows[-size:].detach().clone() if size else rows[:0].detach()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Add rows (N, d); the oldest fall out."""
        self.rows = torch.cat([self.rows, rows.detach().to(self.rows.dtype)])[-self.size :]
