"""A light smoothing of translated films along the source's motion, so that they flicker less."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.metrics.motion import motion, moved

SHARE = 0.5
"""Of the frame before, moved, where the source has not changed otherwise (docs/log.md, "Films along the motion")."""
ALIKE = 16 / 255
"""Difference of the source's frames, of [-1, 1], at which that share has fallen to 1 / e of itself."""
AROUND = 3
"""Side of the square in which the difference is averaged, in pixels."""


class Smoother:
    """Hands on the frames of one film, time by time, each mixed with the one before."""

    def __init__(self) -> None:
        self.source: Tensor | None = None
        self.output: Tensor | None = None

    def __call__(self, source: Tensor, output: Tensor) -> Tensor:
        """A translated frame (3, H, W) of a source's frame of that shape, both in [-1, 1], smoothed.

        Where the source changes by more than its motion (at a cut, at what comes into view) it stays as it is.
        """
        if self.source is not None and self.output is not None:
            way = motion(self.source, source)
            apart = (moved(self.source, way) - source).abs().mean(dim=0)  # (H, W)
            margin = AROUND // 2
            near = F.avg_pool2d(F.pad(apart[None, None], (margin,) * 4, mode="replicate"), AROUND, stride=1)[0, 0]
            share = SHARE * torch.exp(-((near / ALIKE) ** 2))
            output = torch.lerp(output, moved(self.output, way), share)
        self.source, self.output = source, output
        return output
