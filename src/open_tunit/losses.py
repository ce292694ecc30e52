"""The losses, as pure functions of tensors; each returns a scalar to be minimised, averaged over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MUTUAL_INFORMATION_FLOOR = 1e-10
SINKHORN_ROUNDS = 3
PATCH_GRID, PATCH_SIDE, PATCH_STEP = 32, 8, 2
"""Patches are a quarter of the image's side, a sixteenth apart, compared at this resolution."""
PATCH_SHARING = 0.02
"""Added to the squared distance of the nearest drawn patch; small, it makes every patch of the reference wanted."""


def mutual_information(logits: Tensor, logits_plus: Tensor) -> Tensor:
    """Minus the mutual information, in nats, of two views' pseudo labels (IIC: Ji et al. 2019; Baek et al. eq. 1).

    logits and logits_plus (N, K). The K x K joint of the batch is symmetrised and normalised.
    """
    return joint_information_loss(logits.softmax(dim=1).T @ logits_plus.softmax(dim=1))


def joint_information_loss(joint: Tensor) -> Tensor:
    """Minus the mutual information, in nats, of joints (..., K, K) of any positive sum, made symmetric first; (...)."""
    joint = (joint + joint.mT) / 2
    joint = joint / joint.sum(dim=(-2, -1), keepdim=True)
    rows = joint.sum(dim=-1, keepdim=True).clamp(min=MUTUAL_INFORMATION_FLOOR)
    columns = joint.sum(dim=-2, keepdim=True).clamp(min=MUTUAL_INFORMATION_FLOOR)
    joint = joint.clamp(min=MUTUAL_INFORMATION_FLOOR)
    return -(joint * (joint.log() - rows.log() - columns.log())).sum(dim=(-2, -1))


@torch.no_grad()
def balanced_assignment(scores: Tensor, *, epsilon: float, rounds: int = SINKHORN_ROUNDS) -> Tensor:
    """Soft assignment of N rows to K prototypes with every prototype equally full (Sinkhorn-Knopp).

    scores (N, K), higher is closer; epsilon is the entropy of the assignment. Returns (N, K), rows summing to 1.
    Source: Caron et al. 2020 (SwAV), section 3.1. Computed in the log domain, so no score overflows.
    """
    plan = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(rounds):
        plan = plan - plan.logsumexp(dim=0, keepdim=True)
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
    return plan.exp()


def swapped_prediction(logits: Tensor, logits_plus: Tensor, targets: Tensor, targets_plus: Tensor) -> Tensor:
    """Each view's logits predict the other view's balanced assignment; all (N, K) (SwAV, eq. 1 and 2)."""
    return (F.cross_entropy(logits, targets_plus) + F.cross_entropy(logits_plus, targets)) / 2


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, *, temperature: float, in_batch: bool = False) -> Tensor:
    """InfoNCE: the query's own key against the queue (van den Oord et al. 2018; MoCo, He et al. 2020, eq. 1).

    query and key (N, d), negatives (M, d). The positive is in the denominator too, and with `in_batch` the other
    N - 1 keys are: they share the batch's statistics, which otherwise give the positive away.
    """
    if in_batch:
        logits = torch.cat([query @ key.T, query @ negatives.T], dim=1) / temperature  # (N, N + M)
        return F.cross_entropy(logits, torch.arange(len(query), device=query.device))
    positive = (query * key).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, query @ negatives.T], dim=1) / temperature  # (N, 1 + M)
    return -logits.log_softmax(dim=1)[:, 0].mean()


def nt_xent(codes: Tensor, codes_plus: Tensor, *, temperature: float) -> Tensor:
    """Contrast of two views' codes within the batch, all other codes of both being negatives (SimCLR, Chen et al.
    2020, eq. 1).

    Both (N, d), compared by cosine.
    """
    both = F.normalize(torch.cat([codes, codes_plus]), dim=1)
    similarity = both @ both.T / temperature  # (2N, 2N)
    similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    partner = torch.arange(len(both), device=both.device).roll(len(codes))
    return F.cross_entropy(similarity, partner)


def discriminator_on_real(logits: Tensor, *, kind: str) -> Tensor:
    """D's loss for logits (N,) of real images.

    hinge: max(0, 1 - logit) (the published code); log: -log sigmoid(logit) (the published text, eq. 4).
    """
    return F.relu(1 - logits).mean() if kind == "hinge" else F.softplus(-logits).mean()


def discriminator_on_fake(logits: Tensor, *, kind: str) -> Tensor:
    """D's loss for logits (N,) of fakes: discriminator_on_real of their negatives."""
    return discriminator_on_real(-logits, kind=kind)


def generator_adversarial(fake: Tensor, *, kind: str) -> Tensor:
    """G's term for logits (N,) of its images: -mean for the hinge; log(1 - sigmoid(fake)) for the log loss.

    The log form is the published text's minimax (eq. 4), which saturates where D's loss on fakes is small.
    """
    return -fake.mean() if kind == "hinge" else -F.softplus(fake).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean over the batch of the squared gradient norm of logits (N,) by images (N, C, H, W), without the half.

    `images` must require gradients; the result can be differentiated again (Mescheder et al. 2018, eq. 9).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def reconstruction(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean absolute error, over every number of (N, C, H, W)."""
    return F.l1_loss(reconstructions, images)


def feature_difference(real: Sequence[Tensor], drawn: Sequence[Tensor], deviations: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of a network's features of images and of drawings of them (Johnson et al. 2016).

    Levels (N, C, H, W) of each, and per level every channel's deviation (C,), which is its unit; mean over levels.
    """
    levels = zip(real, drawn, deviations, strict=True)
    return torch.stack([((x - y) / unit[:, None, None]).abs().mean() for x, y, unit in levels]).mean()


def label_cross_entropy(logits: Tensor, logits_plus: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of both views' logits (N, K) with the labels (N,); rows labelled -1 do not count.

    The sum of the two views' means over the labelled rows; 0 when no row is labelled.
    """
    count = (labels >= 0).sum().clamp(min=1)
    total = sum(F.cross_entropy(x, labels, ignore_index=-1, reduction="sum") for x in (logits, logits_plus))
    return torch.as_tensor(total) / count


def patch_difference(drawn: Tensor, references: Tensor) -> Tensor:
    """Mean absolute difference of each patch of `drawn` from the one of its reference that it should be like.

    Both (N, C, S, S) with S at least 32. Which one that is carries no gradient: the smallest squared distance, divided
    by how near the reference's patch has any drawn one, so that a patch that nothing is like yet is chosen before one
    that is drawn already (Granot et al. 2022, eq. 1; patches of a style image as targets: Li and Wand 2016).
    """
    ours, theirs = _patches(drawn), _patches(references)
    with torch.no_grad():
        distances = torch.cdist(ours, theirs).square() / ours.shape[2]  # (N, P, P)
        nearest = distances.min(dim=1, keepdim=True).values
        chosen = (distances / (nearest + PATCH_SHARING)).argmin(dim=2)
    rows = torch.arange(len(theirs), device=theirs.device)[:, None]
    return F.l1_loss(ours, theirs[rows, chosen])


def _patches(x: Tensor) -> Tensor:
    """(N, C, S, S) -> (N, P, C * PATCH_SIDE ** 2)."""
    return F.unfold(F.adaptive_avg_pool2d(x, PATCH_GRID), PATCH_SIDE, stride=PATCH_STEP).transpose(1, 2)
