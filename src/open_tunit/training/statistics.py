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


@torch.no_grad()
def measure_statistics(E: GuidingNetwork, batches: Batches, seed: int) -> None:
    """Replace E's batch-norm averages by those of up to SAMPLE training images; E ends in eval mode."""
    norms = [part for part in E.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the parts
    E.train()
    for part in sample(batches, seed):
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


def sample(batches: Batches, seed: int) -> list[NDArray[np.int64]]:
    """Positions of up to SAMPLE training images, in parts of about CHUNK: a function of the seed."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, PURPOSE))))
    chosen = generator.permutation(batches.indices)[:SAMPLE]
    return np.array_split(chosen, -(-len(chosen) // CHUNK))
