"""Balanced prototypes begin as the clusters that survive a change of views in what the contrast has learned.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/experiments.md, "When the domains begin").
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from open_tunit.config import Config
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.training.heads import informative_heads
from open_tunit.training.queue import Queue
from open_tunit.training.state import State, full
from open_tunit.training.statistics import measure_statistics

SAMPLE, CHUNK = 2048, 128
CHANGED_VIEWS = 4
PURPOSE = 2


@torch.no_grad()
def begin_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Point the domain heads of E and its momentum copy at the clusters of the shape codes.

    The heads read the trunk, as before: weight . shape_head(features) + bias, a linear map of the features.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((config.seed, PURPOSE, state.step))))
    chosen = generator.permutation(batches.indices)[:SAMPLE]
    heads = informative_heads(
        shape_codes(state, batches, chosen, config.seed, generator), config.model.domains, generator
    )
    for E in (state.E, state.E_ema):
        assert E.shape_head is not None
        E.domain_head.weight.copy_(heads.weight @ E.shape_head.weight)
        E.domain_head.bias.copy_(heads.weight @ E.shape_head.bias + heads.bias)
    state.logits = Queue(state.logits.size, state.logits.rows[:0])


def shape_codes(
    state: State, batches: Batches, chosen: np.ndarray, seed: int, generator: np.random.Generator
) -> Tensor:
    """(1 + CHANGED_VIEWS, N, d) codes of `chosen` images and of hiding views of them, by the momentum copy with
    statistics measured on training images.
    """
    E = copy.deepcopy(state.E_ema)
    measure_statistics(E, batches, seed)
    columns = []
    for part in np.array_split(chosen, -(-len(chosen) // CHUNK)):
        plain = batches.pictures(part)
        rows = [full(E(plain).shape)]
        for _ in range(CHANGED_VIEWS):
            draws = views.draw(generator, len(part))
            rows.append(full(E(views.hiding_view(plain, draws, batches.view)).shape))
        columns.append(torch.stack(rows))
    return torch.cat(columns, dim=1)
