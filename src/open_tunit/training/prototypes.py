"""Balanced prototypes begin as the clusters that survive a change of views in what the contrast has learned.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/experiments.md, "When the domains begin").
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from open_tunit.config import Config, Views
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.training.heads import informative_heads, quieting_map
from open_tunit.training.queue import Queue
from open_tunit.training.state import State, full
from open_tunit.training.statistics import measure_statistics
from open_tunit.training.votes import linear_heads, vote

BEGIN_SAMPLE, BEGIN_VIEWS = 2048, 4
SETTLE_SAMPLE, SETTLE_VIEWS = 4096, 2
CHUNK = 128
PURPOSE = 2


@torch.no_grad()
def begin_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Point the domain heads of E and its momentum copy at the clusters of the shape codes.

    The heads read the trunk, as before: weight . shape_head(features) + bias, a linear map of the features.
    """
    generator = _generator(state, config)
    features = _features(state, batches, config, generator, (views.hiding_view,) * BEGIN_VIEWS, BEGIN_SAMPLE)
    heads = informative_heads(_shapes(state.E_ema, features), config.model.domains, generator)
    for E in (state.E, state.E_ema):
        assert E.shape_head is not None
        E.domain_head.weight.copy_(heads.weight @ E.shape_head.weight)
        E.domain_head.bias.copy_(heads.weight @ E.shape_head.bias + heads.bias)
    state.logits = Queue(state.logits.size, state.logits.rows[:0])


@torch.no_grad()
def settle_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Let neighbours in the shape codes vote on the domains, and both domain heads follow, before they are held."""
    changes = (views.domain_view,) * SETTLE_VIEWS
    features = _features(state, batches, config, _generator(state, config), changes, SETTLE_SAMPLE)
    codes = _shapes(state.E_ema, features)
    plain = (codes[0] - codes[0].mean(dim=0)) @ quieting_map(codes)
    domains = vote(plain, state.E_ema.domain_head(features[0]).softmax(dim=1))
    weight, bias = linear_heads(features, domains, config.model.domains)
    for E in (state.E, state.E_ema):
        E.domain_head.weight.copy_(weight)
        E.domain_head.bias.copy_(bias)


def _shapes(E: GuidingNetwork, features: Tensor) -> Tensor:
    return features if E.shape_head is None else E.shape_head(features)


def _generator(state: State, config: Config) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((config.seed, PURPOSE, state.step))))


def _features(
    state: State,
    batches: Batches,
    config: Config,
    generator: np.random.Generator,
    changes: Sequence[Callable[[Tensor, views.Draws, Views], Tensor]],
    count: int,
) -> Tensor:
    """What the momentum copy's trunk, with statistics measured on training images, makes of up to `count` of them.

    Features (1 + V, N, d): of the images, and of each of the V `changes` of them.
    """
    chosen = generator.permutation(batches.indices)[:count]
    E = copy.deepcopy(state.E_ema)
    measure_statistics(E, batches, config.seed)
    columns = []
    for part in np.array_split(chosen, -(-len(chosen) // CHUNK)):
        plain = batches.pictures(part)
        changed = [change(plain, views.draw(generator, len(part)), batches.view) for change in changes]
        columns.append(torch.stack([full(E.features(x)[0]) for x in (plain, *changed)]))
    return torch.cat(columns, dim=1)
