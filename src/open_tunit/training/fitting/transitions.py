"""What is done once between phases: prototypes begin, domains settle, statistics are measured, the palette opens.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/log.md, "Prototypes begun late").
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.data import views
from open_tunit.data.batches import Batches, ImageCodes
from open_tunit.data.pairs import PairTable, describe, find_pairs
from open_tunit.device import alike
from open_tunit.networks.guides import Guide
from open_tunit.rng import Stream, rng
from open_tunit.training.fitting.clustering import (
    SHARPNESS,
    agreement,
    iic_heads,
    kmeans,
    linear_heads,
    nearest_neighbours,
    propagate_labels,
    within_class_whitening,
)
from open_tunit.training.plan import Plan
from open_tunit.training.steps.state import Queue, State, full

BEGIN_SAMPLE, BEGIN_VIEWS = 2048, 4
SETTLE_SAMPLE, SETTLE_VIEWS = 4096, 2
GAIN = 0.01
"""By how much neighbours must agree more about k-means' clusters than about the IIC heads'."""
CHUNK = 128
LEAST_CONFIDENCE = 0.3
"""Mean weight of pairs below which a run is trained without them."""
STATISTICS_SAMPLE, STATISTICS_CHUNK = 512, 64
PALETTE_SCALE = 0.5
"""Standard deviation of the palette's numbers at first: together about that of the rest of the style code."""
PALETTE_FLOOR, PALETTE_LEAST = 0.03, 1e-6
"""Added to the variances (of 1 on average) of the palette's first directions; those with less than the least are 0."""


@torch.no_grad()
def begin_prototypes(state: State, batches: Batches, plan: Plan) -> None:
    """Set the domain heads of E and its momentum copy to clusters of the shape codes.

    IIC's clusters, unless neighbours agree more about k-means' by GAIN; both after kNN label propagation.
    """
    generator, count = _generator(state, plan), plan.config.model.domains
    changes = (views.choosing_view,) * BEGIN_VIEWS
    features = _features(state, batches, plan, generator, changes, BEGIN_SAMPLE)
    codes = _shapes(state.E_ema, features)
    nearest = _neighbours(codes)
    heads = iic_heads(codes, count, generator)
    by_iic = propagate_labels(nearest, (codes[0] @ heads.weight.T + heads.bias).softmax(dim=1))
    points = F.normalize(codes[0] - codes[0].mean(dim=0), dim=1)
    similarity = points @ kmeans(points, count, generator).T
    by_kmeans = propagate_labels(nearest, (SHARPNESS * similarity).softmax(dim=1))
    _set_domain_heads(state, features, preferred(nearest, by_iic, by_kmeans), count)
    state.logits = Queue(state.logits.size, state.logits.rows[:0])


def preferred(nearest: Tensor, by_iic: Tensor, by_kmeans: Tensor) -> Tensor:
    """IIC's domains (N,), unless `nearest` neighbours (N, k) agree more about k-means' by GAIN."""
    gain = agreement(nearest, by_kmeans) - agreement(nearest, by_iic)
    return by_kmeans if gain > GAIN else by_iic


@torch.no_grad()
def settle_domains(state: State, batches: Batches, plan: Plan) -> None:
    """Propagate the domains over nearest neighbours of the shape codes, and refit both domain heads to the result."""
    changes = (views.domain_view,) * SETTLE_VIEWS
    features = _features(state, batches, plan, _generator(state, plan), changes, SETTLE_SAMPLE)
    nearest = _neighbours(_shapes(state.E_ema, features))
    domains = propagate_labels(nearest, state.E_ema.domain_head(features[0]).softmax(dim=1))
    _set_domain_heads(state, features, domains, plan.config.model.domains)


def _set_domain_heads(state: State, features: Tensor, domains: Tensor, count: int) -> None:
    """Fit the domain heads of E and its copy to domains (N,) on the trunk's features (1 + V, N, d)."""
    weight, bias = linear_heads(features, domains, count)
    for E in (state.E, state.E_ema):
        E.domain_head.weight.copy_(weight)
        E.domain_head.bias.copy_(bias)


def _neighbours(codes: Tensor) -> Tensor:
    """Nearest neighbours of the plain codes after within-class whitening of codes (1 + V, N, d)."""
    return nearest_neighbours((codes[0] - codes[0].mean(dim=0)) @ within_class_whitening(codes))


def _shapes(E: Guide, features: Tensor) -> Tensor:
    return features if E.shape_head is None else E.shape_head(features)


def _generator(state: State, plan: Plan) -> np.random.Generator:
    return rng(plan.config.seed, Stream.PROTOTYPES, state.step)


def _features(
    state: State,
    batches: Batches,
    plan: Plan,
    generator: np.random.Generator,
    changes: Sequence[views.Change],
    count: int,
) -> Tensor:
    """Features (1 + V, N, d) of up to `count` training images, and of each of the V `changes` of them.

    By the momentum copy's trunk, with statistics measured on training images.
    """
    chosen = generator.permutation(batches.indices)[:count]
    E = copy.deepcopy(state.E_ema)
    measure_statistics(E, batches, plan.config.seed)
    seen = views.in_views(batches.in_parts(chosen, CHUNK), changes, generator, batches.view)
    return torch.cat([torch.stack([full(E.features(x)[0]) for x in views_of_part]) for views_of_part in seen], dim=1)


@torch.no_grad()
def frozen_codes(state: State, batches: Batches) -> ImageCodes:
    """What a frozen E gives for the training images: style codes, and domains, which are labels where there are any."""
    state.E_ema.eval()
    guidance = [state.E_ema(x) for x in batches.in_parts(batches.indices, CHUNK)]
    found = torch.cat([part.logits.argmax(dim=1) for part in guidance]).cpu().numpy()
    labels = batches.labels[batches.indices]
    styles = torch.cat([part.style for part in guidance])
    return ImageCodes.of(batches.indices, styles, np.where(labels >= 0, labels, found))


@torch.no_grad()
def pair_table(state: State, batches: Batches, plan: Plan) -> PairTable:
    """Pairs of the training images by lightness (data/pairs.py), in the domains of E's average, or of the labels."""
    codes = frozen_codes(state, batches) if batches.codes is None else batches.codes
    domains = torch.from_numpy(codes.domains).to(batches.device)
    pairs = find_pairs(describe(batches.in_parts(batches.indices, CHUNK)), domains, plan.config.model.domains)
    limits = {"distrusted": plan.recipe.pairs_distrusted, "trusted": plan.recipe.pairs_trusted}
    return PairTable.of(pairs, domains, batches.indices, **limits)


@torch.no_grad()
def measure_statistics(E: Guide, batches: Batches, seed: int) -> None:
    """Replace E's batch-norm averages by those of up to STATISTICS_SAMPLE training images; E ends in eval mode."""
    norms = [part for part in E.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the parts
    E.train()
    for x in _sample(batches, seed):
        E(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    E.eval()


def settle_statistics(state: State, batches: Batches, seed: int) -> None:
    """Begin the joint phase with E equal to its average, and both with the statistics measured for it.

    Measured for each apart, they would not fit the average any more once it has followed E.
    """
    measure_statistics(state.E_ema, batches, seed)
    state.E.load_state_dict(state.E_ema.state_dict())


def _sample(batches: Batches, seed: int) -> Iterator[Tensor]:
    """Up to STATISTICS_SAMPLE training images, in parts: a function of the seed."""
    chosen = rng(seed, Stream.STATISTICS).permutation(batches.indices)[:STATISTICS_SAMPLE]
    return batches.in_parts(chosen, STATISTICS_CHUNK)


@torch.no_grad()
def open_palette(state: State, batches: Batches, seed: int) -> None:
    """Start the palette at the whitened leading principal directions of the shallow-feature statistics.

    Colours that matter may have a small variance; whitened, they reach G as soon as the others. A palette that is open
    already (of a model to start from) stays as it is.
    """
    guide = state.guide()
    if guide.palette_head is None or guide.palette_norm is None or guide.palette_head.weight.any():
        return
    measure_statistics(guide, batches, seed)
    parts = [guide.palette_norm(guide.features(x)[1]) for x in _sample(batches, seed)]
    variances, directions = torch.linalg.eigh(torch.cov(torch.cat(parts).T.cpu().double()))
    gains = torch.where(variances > PALETTE_LEAST, (variances.clamp(min=0) + PALETTE_FLOOR).rsqrt(), 0.0)
    whitened = directions * gains
    weight = alike(PALETTE_SCALE * whitened.flip(1).T[: len(guide.palette_head.weight)], guide.palette_head.weight)
    for E in (state.E, state.E_ema):
        assert E.palette_head is not None
        E.palette_head.weight.copy_(weight)
