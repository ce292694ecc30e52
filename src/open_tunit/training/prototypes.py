"""Balanced prototypes begin as the clusters that survive a change of views in what the contrast has learned.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/log.md, "Prototypes begun late").
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.config import Config, Views
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.training.heads import SHARPNESS, informative_heads, kmeans, quieting_map
from open_tunit.training.queue import Queue
from open_tunit.training.state import State, full
from open_tunit.training.statistics import measure_statistics
from open_tunit.training.votes import agreement, linear_heads, nearest_neighbours, vote

BEGIN_SAMPLE, BEGIN_VIEWS = 2048, 4
SETTLE_SAMPLE, SETTLE_VIEWS = 4096, 2
GAIN = 0.01
"""By how much neighbours must agree more about k-means' clusters than about the most informative ones."""
CHUNK = 128
PURPOSE = 2


@torch.no_grad()
def begin_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Point the domain heads of E and its momentum copy at clusters of the shape codes.

    The heads that share the most information, unless neighbours agree more about k-means' clusters by GAIN.
    """
    generator = _generator(state, config)
    changes = (views.choosing_view,) * BEGIN_VIEWS
    features = _features(state, batches, config, generator, changes, BEGIN_SAMPLE)
    codes = _shapes(state.E_ema, features)
    nearest = _neighbours(codes)
    heads = informative_heads(codes, config.model.domains, generator)
    domains = vote(nearest, (codes[0] @ heads.weight.T + heads.bias).softmax(dim=1))
    points = F.normalize(codes[0] - codes[0].mean(dim=0), dim=1)
    likeness = points @ kmeans(points, config.model.domains, generator).T
    loud = vote(nearest, (SHARPNESS * likeness).softmax(dim=1))
    _point_heads(state, features, preferred(nearest, domains, loud), config)
    state.logits = Queue(state.logits.size, state.logits.rows[:0])


def preferred(nearest: Tensor, informative: Tensor, loud: Tensor) -> Tensor:
    """The informative one of two answers (N,), unless `nearest` neighbours (N, k) agree more about the loud by GAIN."""
    gain = agreement(nearest, loud) - agreement(nearest, informative)
    return loud if gain > GAIN else informative


@torch.no_grad()
def settle_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Let neighbours in the shape codes vote on the domains, and both domain heads follow, before they are held."""
    changes = (views.domain_view,) * SETTLE_VIEWS
    features = _features(state, batches, config, _generator(state, config), changes, SETTLE_SAMPLE)
    nearest = _neighbours(_shapes(state.E_ema, features))
    domains = vote(nearest, state.E_ema.domain_head(features[0]).softmax(dim=1))
    _point_heads(state, features, domains, config)


def _point_heads(state: State, features: Tensor, domains: Tensor, config: Config) -> None:
    """The domain heads of E and its copy tell the domains (N,) from the trunk's features (1 + V, N, d)."""
    weight, bias = linear_heads(features, domains, config.model.domains)
    for E in (state.E, state.E_ema):
        E.domain_head.weight.copy_(weight)
        E.domain_head.bias.copy_(bias)


def _neighbours(codes: Tensor) -> Tensor:
    """Whose plain codes are near when the changes of view in codes (1 + V, N, d) count little."""
    return nearest_neighbours((codes[0] - codes[0].mean(dim=0)) @ quieting_map(codes))


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
