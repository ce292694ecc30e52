"""Clusters of codes: k-means, IIC heads, kNN label propagation, and linear classifiers of the result."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit import losses
from open_tunit.device import alike, in_float64

RESTARTS, ROUNDS = 10, 30
STARTS, MOST_WORK = 32, 2**16
"""Heads that are fitted side by side, of which the one with the most information is kept; fewer of many domains, so
that starts x K x (d + K), which the time grows by, stays below the most (for one start it may be above)."""
FIT_STEPS, FIT_RATE = 100, 0.05
SHARPNESS = 8.0
"""Logits per unit of cosine between a code and its centre."""
SPREAD = 4.0
"""Mean length of the codes that heads are fitted to, so that FIT_RATE means the same for every network."""
RIDGE = 0.1
"""Share of the mean variance that is added to every direction before whitening."""
SMALLEST = 1e-6
NEIGHBOURS, PROPAGATION_ROUNDS = 20, 20
REGRESSION_STEPS, REGRESSION_RATE = 200, 0.05
PENALTY = 1e-4
"""Of the squared weights on standardised features."""


class Heads(NamedTuple):
    """A linear map from codes to K logits, and the mutual information of two views' pseudo labels."""

    weight: Tensor
    """(K, d)"""
    bias: Tensor
    """(K,)"""
    information: float
    """Mutual information in nats; at most log K."""


def kmeans(points: Tensor, count: int, generator: np.random.Generator, *, restarts: int = RESTARTS) -> Tensor:
    """Centres (count, d) of unit-length points (N, d), by cosine: the best of `restarts` k-means++ starts."""
    best, best_score = points[:count], -float("inf")
    for _ in range(restarts):
        centres = _spread_centres(points, count, generator)
        for _ in range(ROUNDS):
            member = F.one_hot((points @ centres.T).argmax(dim=1), count).to(points)  # (N, count)
            sums = member.T @ points
            centres = F.normalize(torch.where(member.sum(dim=0)[:, None] > 0, sums, centres), dim=1)
        score = float((points @ centres.T).amax(dim=1).sum())
        if score > best_score:
            best, best_score = centres, score
    return best


def iic_heads(codes: Tensor, count: int, generator: np.random.Generator) -> Heads:
    """The K = `count` linear heads with the most mutual information between plain and changed views (IIC).

    codes (1 + V, N, d): of the plain images, then of V changed views of them. K-means takes the clusters of the
    largest variance; these are the ones invariant to the changes (Ji et al. 2019; of several restarts the one with the
    most information). Deterministic given the generator.
    """
    mean = codes[0].mean(dim=0)
    whitening = within_class_whitening(codes)  # (d, d)
    views = (codes - mean) @ whitening
    scale = SPREAD / views[0].norm(dim=1).mean().clamp(min=SMALLEST)
    views = views * scale
    starts = SHARPNESS / SPREAD * _starts(F.normalize(views[0], dim=1), count, generator)
    weight, bias, information = _fit(views, starts)
    best = int(information.argmax())
    weight = weight[best] @ whitening.T * scale
    return Heads(weight, bias[best] - weight @ mean, float(information[best]))


def within_class_whitening(codes: Tensor) -> Tensor:
    """The symmetric map (d, d) that whitens the changes in codes (1 + V, N, d): an image and its V views are a class.

    Within-class covariance normalisation (Hatch et al. 2006).
    """
    changes = in_float64((codes[1:] - codes[0]).flatten(0, 1))
    values, vectors = torch.linalg.eigh(changes.T @ changes / len(changes))
    floor = RIDGE * values.mean().clamp(min=SMALLEST)
    whitening: Tensor = (vectors * (values.clamp(min=0) + floor).rsqrt()) @ vectors.T
    return alike(whitening, codes)


def _starts(points: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """(R, count, d) unit centres, R at most STARTS: k-means' answer, and k-means++ draws."""
    starts = min(STARTS, max(1, MOST_WORK // (count * (points.shape[1] + count))))
    draws = [_spread_centres(points, count, generator) for _ in range(starts - 1)]
    return torch.stack([kmeans(points, count, generator), *draws])


@torch.enable_grad()
def _fit(views: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (R, K, d), biases (R, K) and informations (R,) after Adam from R starts."""
    weight = weight.clone().requires_grad_()
    bias = torch.zeros_like(weight[:, :, 0]).requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], lr=FIT_RATE)
    for _ in range(FIT_STEPS):
        loss = _information_loss(views, weight, bias)
        optimiser.zero_grad()
        torch.autograd.backward(loss.sum(), inputs=[weight, bias])
        optimiser.step()
    with torch.no_grad():
        return weight.detach(), bias.detach(), -_information_loss(views, weight, bias)


def _information_loss(views: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = torch.einsum("vnd,rkd->rvnk", views, weight) + bias[:, None, None]
    p = logits.softmax(dim=3)
    joint = torch.einsum("rnk,rvnl->rkl", p[:, 0], p[:, 1:])
    return losses.joint_information_loss(joint)


def _spread_centres(points: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """k-means++ (Arthur & Vassilvitskii 2007): each next centre is drawn by its squared distance from the others."""
    chosen = [int(generator.integers(len(points)))]
    nearest = points @ points[chosen[0]]  # (N,) cosine to the nearest of the chosen
    for _ in range(count - 1):
        distance = (1 - nearest).clamp(min=0).cpu().double().numpy()
        total = distance.sum()
        weights = distance / total if total > 0 else None
        chosen.append(int(generator.choice(len(points), p=weights)))
        nearest = nearest.maximum(points @ points[chosen[-1]])
    return points[chosen]


def nearest_neighbours(codes: Tensor) -> Tensor:
    """(N, k) the NEIGHBOURS nearest of codes (N, d) by cosine, or as many as there are."""
    points = F.normalize(codes, dim=1)
    return (points @ points.T).fill_diagonal_(-2).topk(min(NEIGHBOURS, len(codes) - 1), dim=1).indices


def propagate_labels(nearest: Tensor, probabilities: Tensor) -> Tensor:
    """Domains (N,) after kNN label propagation of probabilities (N, K) over `nearest` neighbours (N, k).

    Zhu & Ghahramani 2002, sharpened in every round; borders between domains move to where images are few. No domain is
    given a size.
    """
    for _ in range(PROPAGATION_ROUNDS):
        probabilities = probabilities[nearest].mean(dim=1).square()
        probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)
    return probabilities.argmax(dim=1)


def agreement(nearest: Tensor, domains: Tensor) -> float:
    """How often neighbours (N, k) share a domain (N,), corrected for chance: 1 = always, 0 = as drawn at random.

    Also 0 where there is but one domain.
    """
    shares = in_float64(domains.bincount()) / len(domains)
    chance = float(shares.square().sum())
    agreeing = float(in_float64(domains[nearest] == domains[:, None]).mean())
    return (agreeing - chance) / max(1 - chance, SMALLEST)


@torch.enable_grad()
def linear_heads(features: Tensor, domains: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) that predict the `count` domains (N,) from every view of the features (V, N, d).

    Softmax regression from zero on standardised features; deterministic.
    """
    mean = features[0].mean(dim=0)
    spread = features[0].std(dim=0).clamp(min=SMALLEST)
    points = ((features - mean) / spread).flatten(0, 1)
    targets = domains.repeat(len(features))
    weight = points.new_zeros(count, points.shape[1], requires_grad=True)
    bias = points.new_zeros(count, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], lr=REGRESSION_RATE)
    for _ in range(REGRESSION_STEPS):
        loss = F.cross_entropy(points @ weight.T + bias, targets) + PENALTY * weight.square().sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss, inputs=[weight, bias])
        optimiser.step()
    scaled = weight.detach() / spread
    return scaled, bias.detach() - scaled @ mean
