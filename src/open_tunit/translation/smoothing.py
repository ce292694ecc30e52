"""A light smoothing of translated films along the source's motion, so that they flicker less."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.metrics.motion import motion, moved

SHARE = 0.5
"""Of the frame before, moved, where the source has not changed otherwise (docs/log.md, "Films along the motion")."""
SOURCE_ALIKE, OUTPUT_ALIKE = 16 / 255, 48 / 255
"""Differences of [-1, 1], of the source's frames and of the translated ones, at which it has fallen to 1 / e of itself.
The second keeps what is seen in the translation alone from being smeared, where the source shows no motion."""
AROUND = 3
"""Side of the square in which the difference is averaged, in pixels."""


class Smoother:
    """Hands on the frames of one film, time by time, each mixed with the one before."""

    def __init__(self) -> None:
        self.source: Tensor | None = None
        self.output: Tensor | None = None

    def __call__(self, source: Tensor, output: Tensor) -> Tensor:
        """A translated frame (3, H, W) of a source's frame of that shape, both in [-1, 1], smoothed.

        Where the source changes by more than its motion (at a cut, at what comes into view), or the translation does,
        it stays as it is.
        """
        if self.source is not None and self.output is not None:
            way = motion(self.source, source)
            before = moved(self.output, way)
            unlike = _apart(moved(self.source, way), source) / SOURCE_ALIKE
            unsteady = _apart(before, output) / OUTPUT_ALIKE
            output = torch.lerp(output, before, SHARE * torch.exp(-(unlike**2) - unsteady**2))
        self.source, self.output = source, output
        return output


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """(H, W) mean absolute difference of frames (3, H, W) around each pixel."""
    apart = (one - other).abs().mean(dim=0)[None, None]
    return F.avg_pool2d(F.pad(apart, (AROUND // 2,) * 4, mode="replicate"), AROUND, stride=1)[0, 0]
