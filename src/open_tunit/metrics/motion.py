"""Motion between two frames of a film, by blocks that move as one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK, REACH = 8, 4
"""Side of the blocks, and the farthest that they are looked for, in pixels."""
PER_PIXEL = 2 / 255
"""What a block must be more alike, of [-1, 1], for each pixel that it is farther away: flat ones do not move."""


def motion(before: Tensor, after: Tensor) -> Tensor:
    """From where each pixel of `after` is taken in `before`: rows and columns away, (2, H, W).

    Both are frames (C, H, W) in [-1, 1]. Each block is taken from where `before` is most like it: full search, mean of
    absolute differences, with PER_PIXEL for the way. Outside, the frame goes on as at its edge.
    """
    height, width = after.shape[1:]
    right, below = -width % BLOCK, -height % BLOCK
    after = F.pad(after[None], (0, right, 0, below), mode="replicate")[0]
    wide = F.pad(before[None], (REACH, REACH + right, REACH, REACH + below), mode="replicate")[0]
    steps = range(-REACH, REACH + 1)
    ways = sorted(((y, x) for y in steps for x in steps), key=lambda way: way[0] ** 2 + way[1] ** 2)
    best = torch.full((after.shape[1] // BLOCK, after.shape[2] // BLOCK), torch.inf, device=after.device)
    found = torch.zeros(2, *best.shape, dtype=torch.int64, device=after.device)
    for y, x in ways:
        there = wide[:, REACH + y : REACH + y + after.shape[1], REACH + x : REACH + x + after.shape[2]]
        apart = F.avg_pool2d((there - after).abs().mean(dim=0)[None, None], BLOCK)[0, 0] + PER_PIXEL * math.hypot(y, x)
        better = apart < best
        best = torch.where(better, apart.to(best), best)
        found = torch.where(better, torch.tensor([y, x], device=found.device)[:, None, None], found)
    each_pixel = found.repeat_interleave(BLOCK, dim=1).repeat_interleave(BLOCK, dim=2)
    return each_pixel[:, :height, :width]


def moved(frame: Tensor, displacements: Tensor) -> Tensor:
    """`frame` (C, H, W) with each pixel taken from where `displacements` (2, H, W), of `motion`, say."""
    height, width = frame.shape[1:]
    rows = torch.arange(height, device=frame.device)[:, None] + displacements[0]
    columns = torch.arange(width, device=frame.device) + displacements[1]
    return frame[:, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
