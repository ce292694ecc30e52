"""What a pretrained guiding network is fitted with, from features computed once: style codes by whitening, domains.

The trunk never learns, so all that is left of E's own phase is linear algebra on N x 1280 numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.data import views
from open_tunit.data.batches import Batches, ImageCodes
from open_tunit.device import alike, in_float64
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.networks.projected import ProjectedDiscriminator
from open_tunit.rng import Stream, rng
from open_tunit.training.fitting.clustering import kmeans, linear_heads
from open_tunit.training.plan import Plan
from open_tunit.training.steps.state import State, new_state

MOST_CLUSTERED = 1500
"""Most images that domains are found on."""
MEASURED, CHUNK = 64, 32
"""Images whose features standardise D's; images of a part."""
STYLE_SCALE = 0.5
"""Deviation of each number of a style code."""
FLOOR = 0.03
"""Share of the mean variance of the kept directions that is added to each, so that none is only noise."""
DIRECTIONS, POWER = 48, 0.5
"""Half-whitened principal directions in which domains are found; 32 to 96 find them as well."""
RESTARTS = 50
"""K-means' starts: the best of ten is in some runs a worse one (docs/log.md)."""
COUNT_DIRECTIONS, COUNT_SIDE = 32, 128
"""Principal directions in which the number of domains is sought, and pixels to which pictures are resized for it."""
NEIGHBOURS, ROUNDS = 10, 2
COUNTED, VIEWS = 600, 2
"""Most images in which the number of domains is sought, and views of each that the plain one is compared with."""
SMALLEST = 1e-12


class LinearMap(NamedTuple):
    """features @ weight.T + bias."""

    weight: Tensor
    """(d, D)"""
    bias: Tensor
    """(d,)"""

    def __call__(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., d)."""
        return features @ self.weight.T + self.bias

    @torch.no_grad()
    def copy_to(self, head: nn.Linear) -> None:
        """Make `head` this map."""
        head.weight.copy_(self.weight)
        head.bias.copy_(self.bias)


def whitening(
    features: Tensor, count: int, *, power: float = 1.0, floor: float = FLOOR, scale: float = 1.0
) -> LinearMap:
    """The `count` principal directions of features (N, D), centred and scaled by their deviation ** -power.

    power 1 whitens: every direction gets about the deviation `scale`; 1/2 half-whitens; 0 is PCA. Directions beyond
    the features' rank get nearly 0. In float64; signs are fixed by each direction's largest entry.
    """
    rows = in_float64(features)
    mean = rows.mean(dim=0)
    centred = rows - mean
    covariance = centred.T @ centred / len(features)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[:count].clamp(min=0), vectors.flip(1)[:, :count]
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    deviation = (values + floor * values.mean() + SMALLEST).sqrt()
    weight = (vectors * signs * (scale * deviation**-power)).T
    return LinearMap(alike(weight, features), alike(-weight @ mean, features))


@torch.no_grad()
def fit_style(style_head: nn.Linear, palette_head: nn.Linear, features: Tensor, colours: Tensor) -> None:
    """Point both heads at the whitened principal directions of the training images' features (N, D) and colours."""
    for head, seen in ((style_head, features), (palette_head, colours)):
        whitening(seen, head.out_features, scale=STYLE_SCALE).copy_to(head)


@torch.no_grad()
def find_domains(features: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """Domains (N,) of images with these pooled features (N, D), non-negative as ReLU6 leaves them.

    K-means by cosine on half-whitened principal directions of the features' square roots, after every image has moved
    towards its nearest neighbours: crowds draw together and the borders between them empty. Deterministic given the
    generator; memory and time are O(N^2), so draw some thousands of images where there are more. How the rule was
    chosen: experiments/pretrained_domains.py.
    """
    points = gathered(F.normalize(domain_codes(features, DIRECTIONS, power=POWER), dim=1))
    return (points @ kmeans(points, count, generator, restarts=RESTARTS).T).argmax(dim=1)


def domain_codes(features: Tensor, directions: int, *, power: float) -> Tensor:
    """Codes (N, `directions`), or as many as the features have: `whitening` of the square roots of features (N, D).

    The root evens out activations of which few are large (Hellinger's distance; Arandjelovic & Zisserman 2012).
    """
    roots = features.clamp(min=0).sqrt()
    return whitening(roots, min(directions, roots.shape[1]), power=power)(roots)


@torch.no_grad()
def codes_in_views(
    batches: Batches, plan: Plan, generator: np.random.Generator, progress: Callable[[int, int], None] | None
) -> tuple[Tensor, Tensor]:
    """Codes (N, d) of up to COUNTED training images, and (VIEWS, N, d) of views of each; d is COUNT_DIRECTIONS.

    In the principal directions of the plain images' square roots. `progress` gets the number of images that are done,
    and of all.
    """
    E = new_state(plan.replace({"model.trunk_side": COUNT_SIDE}), batches.device).E
    chosen = generator.permutation(batches.indices)[:COUNTED]
    seen = views.in_views(batches.in_parts(chosen, CHUNK), (views.domain_view,) * VIEWS, generator, batches.view)
    parts, done = [], 0
    for part in seen:
        parts.append(torch.stack([E.features(x)[0] for x in part]))
        done += len(part[0])
        if progress is not None:
            progress(done, len(chosen))
    roots = torch.cat(parts, dim=1).clamp(min=0).sqrt()  # (1 + VIEWS, N, D)
    codes = whitening(roots[0], min(COUNT_DIRECTIONS, roots.shape[2]), power=0.0)(roots)
    return codes[0], codes[1:]


def gathered(points: Tensor) -> Tensor:
    """Unit-length points (N, d) after ROUNDS in which each goes halfway to the mean of its nearest neighbours."""
    for _ in range(ROUNDS):
        alike = (points @ points.T).fill_diagonal_(-2)
        nearest = alike.topk(min(NEIGHBOURS, max(len(points) - 1, 1)), dim=1).indices  # (N, k)
        points = F.normalize(points + points[nearest].mean(dim=1), dim=1)
    return points


@torch.no_grad()
def fit_domain_head(domain_head: nn.Linear, features: Tensor, domains: Tensor) -> None:
    """Fit `domain_head` to the domains (N,) on features (N, D), or on every view of them (V, N, D).

    They need not be the features that the domains were found in: those of smaller pictures do.
    """
    viewed = features if features.ndim == 3 else features[None]
    LinearMap(*linear_heads(viewed, domains, domain_head.out_features)).copy_to(domain_head)


@torch.no_grad()
def image_codes(state: State, batches: Batches, plan: Plan) -> ImageCodes:
    """Style codes and domains of all training images: labels where there are any, else E's.

    At step 0 E is fitted first, and D's standardisation measured. A run that goes on finds the same codes.
    """
    E = state.E
    assert isinstance(E, PretrainedGuiding)
    seen = [E.features(x) for x in batches.in_parts(batches.indices, CHUNK)]
    features, colours = (torch.cat(parts) for parts in zip(*seen, strict=True))
    if state.step == 0:
        _fit(E, features, colours, batches, plan)
        state.E_ema.load_state_dict(E.state_dict())
        _standardise(state, batches, plan)
    guidance = E.read(features, colours)
    found, labels = guidance.logits.argmax(dim=1).cpu().numpy(), batches.labels[batches.indices]
    return ImageCodes.of(batches.indices, guidance.style, np.where(labels >= 0, labels, found))


def _fit(E: PretrainedGuiding, features: Tensor, colours: Tensor, batches: Batches, plan: Plan) -> None:
    """Fit E's heads; domains are clusters, or labels where there are any."""
    if plan.config.init is None:  # else the heads stay those of the model that G was trained with
        fit_style(E.style_head, E.palette_head, features, colours)
    labels = torch.as_tensor(batches.labels[batches.indices], device=batches.device)
    if plan.supervision == "none":
        generator = rng(plan.config.seed, Stream.PROTOTYPES)
        rows = np.sort(generator.permutation(len(batches.indices))[:MOST_CLUSTERED])
        labels = torch.full_like(labels, -1)
        labels[torch.as_tensor(rows)] = find_domains(
            features[torch.as_tensor(rows)], plan.config.model.domains, generator
        )
    known = labels >= 0
    fit_domain_head(E.domain_head, features[known], labels[known])


def _standardise(state: State, batches: Batches, plan: Plan) -> None:
    """Measure the features that D standardises by."""
    E, D = state.E, state.D
    assert isinstance(E, PretrainedGuiding)
    assert isinstance(D, ProjectedDiscriminator)
    chosen = rng(plan.config.seed, Stream.STATISTICS).permutation(batches.indices)[:MEASURED]
    D.projection.measure(E.trunk(batches.pictures(np.sort(chosen))))
