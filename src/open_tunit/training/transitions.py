"""What is done once between phases: prototypes begin, domains are settled, statistics measured, the palette opened.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/log.md, "When the domains begin").
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from open_tunit.config import Config, Views
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.rng import Stream, rng
from open_tunit.training.clustering import (
    SHARPNESS,
    agreement,
    informative_heads,
    kmeans,
    linear_heads,
    nearest_neighbours,
    quieting_map,
    vote,
)
from open_tunit.training.state import Queue, State, full

BEGIN_SAMPLE, BEGIN_VIEWS = 2048, 4
SETTLE_SAMPLE, SETTLE_VIEWS = 4096, 2
GAIN = 0.01
"""By how much neighbours must agree more about k-means' clusters than about the most informative ones."""
CHUNK = 128
STATISTICS_SAMPLE, STATISTICS_CHUNK = 512, 64
PALETTE_SCALE = 0.5
"""Standard deviation of the palette's numbers at first: together about as loud as the rest of the style code."""
PALETTE_FLOOR, PALETTE_LEAST = 0.03, 1e-6
"""Added to the variances (of 1 on average) of the palette's first directions; those with less than the least are 0."""


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
    return rng(config.seed, Stream.PROTOTYPES, state.step)


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


@torch.no_grad()
def measure_statistics(E: GuidingNetwork, batches: Batches, seed: int) -> None:
    """Replace E's batch-norm averages by those of up to STATISTICS_SAMPLE training images; E ends in eval mode."""
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
    """Positions of up to STATISTICS_SAMPLE training images, in parts: a function of the seed."""
    generator = rng(seed, Stream.STATISTICS)
    chosen = generator.permutation(batches.indices)[:STATISTICS_SAMPLE]
    return np.array_split(chosen, -(-len(chosen) // STATISTICS_CHUNK))


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
    gains = torch.where(variances > PALETTE_LEAST, (variances.clamp(min=0) + PALETTE_FLOOR).rsqrt(), 0.0)
    whitened = directions * gains
    weight = PALETTE_SCALE * whitened.flip(1).T[: len(guide.palette_head.weight)]
    for E in (state.E, state.E_ema):
        assert E.palette_head is not None
        E.palette_head.weight.copy_(weight)
