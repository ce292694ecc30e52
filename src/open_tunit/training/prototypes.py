"""Balanced prototypes begin where k-means finds clusters in what the contrast has learned.

Begun from random weights, prototypes settle on whatever is easiest to tell apart at that time, and stay there
(docs/experiments.md, "When the domains begin").
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.config import Config
from open_tunit.data.batches import Batches
from open_tunit.training.queue import Queue
from open_tunit.training.state import State, full

SAMPLE = 2048
RESTARTS, ROUNDS = 10, 30
SHARPNESS = 8.0
"""Logits per unit of cosine between a shape code and its centre."""
PURPOSE = 2
SMALLEST = 1e-6


def kmeans(points: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """Centres (count, d) of unit-length points (N, d), by cosine: the best of several k-means++ starts."""
    best, best_score = points[:count], -float("inf")
    for _ in range(RESTARTS):
        centres = _spread_centres(points, count, generator)
        for _ in range(ROUNDS):
            member = F.one_hot((points @ centres.T).argmax(dim=1), count).to(points)  # (N, count)
            sums = member.T @ points
            centres = F.normalize(torch.where(member.sum(dim=0)[:, None] > 0, sums, centres), dim=1)
        score = float((points @ centres.T).amax(dim=1).sum())
        if score > best_score:
            best, best_score = centres, score
    return best


@torch.no_grad()
def begin_prototypes(state: State, batches: Batches, config: Config) -> None:
    """Point the domain heads of E and its momentum copy at the k-means centres of the shape codes.

    The heads read the trunk, as before: centre . (shape_head(features) - mean), a linear map of the features.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((config.seed, PURPOSE, state.step))))
    codes = _shape_codes(state, batches, generator)
    mean = codes.mean(dim=0)
    centred = codes - mean
    centres = kmeans(F.normalize(centred, dim=1), config.model.domains, generator)
    scale = SHARPNESS / max(float(centred.norm(dim=1).mean()), SMALLEST)
    for E in (state.E, state.E_ema):
        assert E.shape_head is not None
        E.domain_head.weight.copy_(scale * centres @ E.shape_head.weight)
        E.domain_head.bias.copy_(scale * centres @ (E.shape_head.bias - mean))
    state.logits = Queue(state.logits.size, state.logits.rows[:0])


def _shape_codes(state: State, batches: Batches, generator: np.random.Generator) -> Tensor:
    """Of up to SAMPLE training images, by the momentum copy with the batch statistics that it trains with."""
    chosen = generator.permutation(batches.indices)[:SAMPLE]
    parts = [full(state.E_ema(batches.pictures(part)).shape) for part in np.array_split(chosen, -(-len(chosen) // 128))]
    return torch.cat(parts)


def _spread_centres(points: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007): each next centre is drawn by its squared distance from the others."""
    chosen = [int(generator.integers(len(points)))]
    for _ in range(count - 1):
        distance = (1 - (points @ points[chosen].T).amax(dim=1)).clamp(min=0).double().cpu().numpy()
        total = distance.sum()
        weights = distance / total if total > 0 else None
        chosen.append(int(generator.choice(len(points), p=weights)))
    return points[chosen]
