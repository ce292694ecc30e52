"""How the palette, the style code's share of colours, begins."""

from __future__ import annotations

import torch

from open_tunit.data.batches import Batches
from open_tunit.training.state import State
from open_tunit.training.statistics import measure_statistics, sample

SCALE = 0.5
"""Standard deviation of the palette's numbers at first: together about as loud as the rest of the style code."""
FLOOR, LEAST = 0.03, 1e-6
"""Added to the variances (of 1 on average) of the palette's first directions; those with less than the least are 0."""


@torch.no_grad()
def open_palette(state: State, batches: Batches, seed: int) -> None:
    """Let the style code read the palette from now on: its leading principal directions, all equally loud.

    Colours that matter may hardly vary; whitened, G hears them as soon as the others. A palette that is open already
    (of a model to start from) stays as it is.
    """
    guide = state.guide()
    if guide.palette_head is None or guide.palette_norm is None or guide.palette_head.weight.any():
        return
    measure_statistics(guide, batches, seed)
    parts = [guide.palette_norm(guide.features(batches.pictures(part))[1]) for part in sample(batches, seed)]
    variances, directions = torch.linalg.eigh(torch.cov(torch.cat(parts).T.cpu().double()))
    gains = torch.where(variances > LEAST, (variances.clamp(min=0) + FLOOR).rsqrt(), 0.0)
    whitened = directions * gains
    weight = SCALE * whitened.flip(1).T[: len(guide.palette_head.weight)]
    for E in (state.E, state.E_ema):
        assert E.palette_head is not None
        E.palette_head.weight.copy_(weight)
