"""Flicker: how much a film's neighbouring frames differ when the motion is taken out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from open_tunit.metrics.motion import motion, moved

LEVELS = 255 / 2


def flicker(films: Iterable[tuple[Tensor, ...]]) -> list[float]:
    """Mean absolute difference of each frame from the one before, moved by the first film's motion.

    `films` gives the frames (3, H, W) in [-1, 1] of several films of one scene, time by time; the result has a number
    for each film, in levels of 255. Raises ValueError for fewer than two frames.
    """
    before: tuple[Tensor, ...] | None = None
    steps = []
    for frames in films:
        if before is not None:
            way = motion(before[0], frames[0])
            apart = [(moved(old, way) - new).abs().mean() for old, new in zip(before, frames, strict=True)]
            steps.append(torch.stack(apart).cpu().double())
        before = frames
    if not steps:
        raise ValueError("flicker needs two frames or more")
    means: list[float] = torch.stack(steps).mean(dim=0).mul(LEVELS).tolist()
    return means
