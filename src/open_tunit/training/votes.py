"""Domains settled by vote: what an image's nearest neighbours say, and the linear heads that say the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS, ROUNDS = 20, 20
FIT_STEPS, FIT_RATE = 200, 0.05
PENALTY = 1e-4
"""Of the squared weights on standardised features."""
SMALLEST = 1e-6


def nearest_neighbours(codes: Tensor) -> Tensor:
    """(N, k) the NEIGHBOURS nearest of codes (N, d) by cosine, or as many as there are."""
    points = F.normalize(codes, dim=1)
    return (points @ points.T).fill_diagonal_(-2).topk(min(NEIGHBOURS, len(codes) - 1), dim=1).indices


def vote(nearest: Tensor, probabilities: Tensor) -> Tensor:
    """Domains (N,) after images have taken on what their `nearest` neighbours (N, k) think, over and over.

    probabilities (N, K). Label propagation (Zhu & Ghahramani 2002), sharpened in every round; borders between domains
    move to where images are few. No domain is given a size.
    """
    for _ in range(ROUNDS):
        probabilities = probabilities[nearest].mean(dim=1).square()
        probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)
    return probabilities.argmax(dim=1)


def agreement(nearest: Tensor, domains: Tensor) -> float:
    """How often neighbours (N, k) share a domain (N,), corrected for chance: 1 = always, 0 = as drawn at random.

    Also 0 where there is but one domain.
    """
    shares = domains.bincount().double() / len(domains)
    chance = float(shares.square().sum())
    agreeing = float((domains[nearest] == domains[:, None]).double().mean())
    return (agreeing - chance) / max(1 - chance, SMALLEST)


@torch.enable_grad()
def linear_heads(features: Tensor, domains: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) that tell the `count` domains (N,) from every view of the features (V, N, d).

    Softmax regression from zero on standardised features; deterministic.
    """
    mean = features[0].mean(dim=0)
    spread = features[0].std(dim=0).clamp(min=SMALLEST)
    points = ((features - mean) / spread).flatten(0, 1)
    targets = domains.repeat(len(features))
    weight = points.new_zeros(count, points.shape[1], requires_grad=True)
    bias = points.new_zeros(count, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=FIT_RATE)
    for _ in range(FIT_STEPS):
        loss = F.cross_entropy(points @ weight.T + bias, targets) + PENALTY * weight.square().sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss, inputs=[weight, bias])
        optimiser.step()
    scaled = weight.detach() / spread
    return scaled, bias.detach() - scaled @ mean
