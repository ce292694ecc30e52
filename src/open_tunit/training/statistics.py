"""Batch-norm statistics of E, measured on training images instead of averaged over whatever passed through."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from open_tunit.data.batches import Batches
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.training.state import State

SAMPLE, CHUNK = 512, 64
PURPOSE = 3
PALETTE_SCALE = 0.5
"""Standard deviation of the palette's numbers at first: together about as loud as the rest of the style code."""
PALETTE_FLOOR, PALETTE_LEAST = 0.03, 1e-6
"""Added to the variances (of 1 on average) of the palette's first directions; those with less than the least are 0."""


@torch.no_grad()
def measure_statistics(E: GuidingNetwork, batches: Batches, seed: int) -> None:
    """Replace E's batch-norm averages by those of up to SAMPLE training images; E ends in eval mode."""
    norms = [part for part in E.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the parts
    E.train()
    for part in _sample(batches, seed):
        E(batches.pictures(part))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    E.eval()


def settle_statistics(state: State, batches: Batches, seed: int) -> None:
    """Begin the joint phase with E equal to its average, and both with the statistics measured for it.

    Measured for each apart, they would not fit the average any more once it has followed E.
    """
    measure_statistics(state.E_ema, batches, seed)
    state.E.load_state_dict(state.E_ema.state_dict())


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
    parts = [guide.palette_norm(guide.features(batches.pictures(part))[1]) for part in _sample(batches, seed)]
    variances, directions = torch.linalg.eigh(torch.cov(torch.cat(parts).T.double()))
    gains = torch.where(variances > PALETTE_LEAST, (variances.clamp(min=0) + PALETTE_FLOOR).rsqrt(), 0.0)
    whitened = directions * gains
    weight = PALETTE_SCALE * whitened.flip(1).T[: len(guide.palette_head.weight)]
    for E in (state.E, state.E_ema):
        assert E.palette_head is not None
        E.palette_head.weight.copy_(weight)


def _sample(batches: Batches, seed: int) -> list[NDArray[np.int64]]:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, PURPOSE))))
    chosen = generator.permutation(batches.indices)[:SAMPLE]
    return np.array_split(chosen, -(-len(chosen) // CHUNK))
