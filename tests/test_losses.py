"""The losses, each against the same formula written out in float64 loops, by hand or by another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from torch import Tensor

from open_tunit import losses

Array = NDArray[np.float64]
CONFIDENT = 200.0
"""A logit so large that the softmax is exactly one-hot in float32."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def information(p: Array, q: Array) -> float:
    """I(p, q) in nats of the symmetrised joint of N pairs of distributions, term by term."""
    count, kinds = p.shape
    joint = np.zeros((kinds, kinds))
    for n in range(count):
        for a in range(kinds):
            for b in range(kinds):
                joint[a, b] += (p[n, a] * q[n, b] + p[n, b] * q[n, a]) / (2 * count)
    total = 0.0
    for a in range(kinds):
        for b in range(kinds):
            if joint[a, b] > 0:
                total += joint[a, b] * math.log(joint[a, b] / (joint[a].sum() * joint[:, b].sum()))
    return total


def test_mutual_information() -> None:
    logits, logits_plus = normal(7, 4) * 3, normal(7, 4, seed=1) * 3
    expected = -information(softmax(logits.numpy(), axis=1), softmax(logits_plus.numpy(), axis=1))
    assert losses.mutual_information(logits, logits_plus).item() == pytest.approx(expected, rel=1e-7)
    assert losses.mutual_information(logits.float(), logits_plus.float()).item() == pytest.approx(expected, rel=1e-5)


def test_mutual_information_is_best_at_sure_even_agreement() -> None:
    sure = CONFIDENT * F.one_hot(torch.arange(8) % 4).float()
    assert losses.mutual_information(sure, sure).item() == pytest.approx(-math.log(4), rel=1e-6)
    collapsed = sure[:1].expand(8, 4)
    assert losses.mutual_information(collapsed, collapsed).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kinds", [[0, 1, 2, 3], [1, 1, 1, 1]])
def test_the_gradient_of_mutual_information_is_finite_at_one_hot_inputs(kinds: list[int]) -> None:
    logits = (CONFIDENT * F.one_hot(torch.tensor(kinds), 4).float()).requires_grad_()
    value = losses.mutual_information(logits, logits.detach().roll(1, dims=0))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def sinkhorn(scores: Array, epsilon: float, rounds: int) -> Array:
    """Columns, then rows, divided by their sums; plainly, in float64."""
    plan = np.exp(scores / epsilon)
    for _ in range(rounds):
        plan = plan / plan.sum(axis=0, keepdims=True)
        plan = plan / plan.sum(axis=1, keepdims=True)
    return plan


@pytest.mark.parametrize("rounds", [1, 3])
def test_balanced_assignment_is_sinkhorns(rounds: int) -> None:
    scores = normal(12, 3)
    found = losses.balanced_assignment(scores, epsilon=0.4, rounds=rounds)
    np.testing.assert_allclose(found.numpy(), sinkhorn(scores.numpy(), 0.4, rounds), rtol=1e-10)


def test_balanced_assignment_fills_all_columns_alike() -> None:
    scores = normal(60, 3) + torch.tensor([3.0, 0.0, -1.0])  # nearly everyone would choose the first
    plan = losses.balanced_assignment(scores, epsilon=0.4, rounds=50)
    np.testing.assert_allclose(plan.sum(dim=1).numpy(), 1, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(dim=0).numpy(), 20, rtol=1e-3)
    assert (plan * scores).sum() > 20 * scores.mean(dim=0).sum()  # and still follows the scores


def test_balanced_assignment_stands_large_scores_and_carries_no_gradient() -> None:
    scores = (1000 * normal(8, 4).float()).requires_grad_()
    plan = losses.balanced_assignment(scores, epsilon=0.05)
    assert torch.isfinite(plan).all()
    assert not plan.requires_grad
    assert losses.balanced_assignment(scores.bfloat16(), epsilon=0.05).dtype == torch.float32


def test_swapped_prediction() -> None:
    logits, logits_plus = normal(5, 3), normal(5, 3, seed=1)
    targets, targets_plus = normal(5, 3, seed=2).softmax(dim=1), normal(5, 3, seed=3).softmax(dim=1)

    def cross(target: Tensor, logit: Tensor) -> float:
        log_p = logit.numpy() - logsumexp(logit.numpy(), axis=1, keepdims=True)
        return float(-(target.numpy() * log_p).sum() / 5)

    expected = (cross(targets_plus, logits) + cross(targets, logits_plus)) / 2
    found = losses.swapped_prediction(logits, logits_plus, targets, targets_plus)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("in_batch", [False, True])
def test_info_nce(in_batch: bool) -> None:
    query, key, negatives = normal(4, 6).numpy(), normal(4, 6, seed=1).numpy(), normal(9, 6, seed=2).numpy()
    expected = 0.0
    for n in range(4):
        others = [k for m, k in enumerate(key) if m != n] if in_batch else []
        rivals = [query[n] @ k / 0.7 for k in (key[n], *others, *negatives)]
        expected += (logsumexp(rivals) - rivals[0]) / 4
    tensors = [torch.from_numpy(x) for x in (query, key, negatives)]
    found = losses.info_nce(tensors[0], tensors[1], tensors[2], temperature=0.7, in_batch=in_batch)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_nt_xent() -> None:
    first, second = normal(4, 5).numpy(), 7 * normal(4, 5, seed=1).numpy()  # lengths do not count
    codes = [c / np.linalg.norm(c) for c in (*first, *second)]
    expected = 0.0
    for n in range(8):
        partner = (n + 4) % 8
        rivals = [codes[n] @ codes[m] / 0.5 for m in range(8) if m != n]
        expected += (logsumexp(rivals) - codes[n] @ codes[partner] / 0.5) / 8
    found = losses.nt_xent(torch.from_numpy(first), torch.from_numpy(second), temperature=0.5)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0, 1.0]), torch.tensor([-3.0, 0.0, 1.0, -0.5])
    d_real = losses.discriminator_on_real(real, kind="hinge")
    d_fake = losses.discriminator_on_fake(fake, kind="hinge")
    assert d_real.item() == pytest.approx((0 + 0.5 + 2 + 0) / 4)
    assert d_fake.item() == pytest.approx((0 + 1 + 2 + 0.5) / 4)
    assert losses.generator_adversarial(fake, kind="hinge").item() == pytest.approx((3 + 0 - 1 + 0.5) / 4)


def test_the_log_loss() -> None:
    real, fake = [2.0, 0.5, -1.0], [-3.0, 0.0, 1.0]
    d_real = losses.discriminator_on_real(torch.tensor(real), kind="log")
    d_fake = losses.discriminator_on_fake(torch.tensor(fake), kind="log")

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    assert d_real.item() == pytest.approx(sum(-math.log(sigmoid(x)) for x in real) / 3)
    assert d_fake.item() == pytest.approx(sum(-math.log(1 - sigmoid(x)) for x in fake) / 3)
    expected = sum(math.log(1 - sigmoid(x)) for x in fake) / 3
    assert losses.generator_adversarial(torch.tensor(fake), kind="log").item() == pytest.approx(expected)


def test_the_log_loss_of_sure_logits_is_finite() -> None:
    sure = torch.tensor([CONFIDENT, -CONFIDENT])
    d_real = losses.discriminator_on_real(sure, kind="log")
    d_fake = losses.discriminator_on_fake(sure, kind="log")
    assert d_real.item() == pytest.approx(CONFIDENT / 2)
    assert d_fake.item() == pytest.approx(CONFIDENT / 2)


def test_r1_of_a_quadratic() -> None:
    """logit = a |x|² / 2 has gradient a x, so the penalty is the mean of a² |x|², and its derivative by a 2 a |x|²."""
    x = normal(3, 2, 4, 4).requires_grad_()
    a = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    penalty = losses.r1_penalty(a * x.square().sum(dim=(1, 2, 3)) / 2, x)
    square = float((x.detach().numpy() ** 2).sum() / 3)
    assert penalty.item() == pytest.approx(2.25 * square, rel=1e-12)
    penalty.backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(3 * square, rel=1e-12)


def test_r1_equals_finite_differences() -> None:
    convolution = torch.nn.Conv2d(2, 3, 3).double()

    def judge(x: Tensor) -> Tensor:
        return torch.tanh(convolution(x)).square().sum(dim=(1, 2, 3))

    x = normal(2, 2, 4, 4).requires_grad_()
    expected, h = 0.0, 1e-5
    with torch.no_grad():
        for place in np.ndindex(2, 4, 4):
            nudge = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
            nudge[(0, *place)] = h
            slope = (judge(x + nudge) - judge(x - nudge)) / (2 * h)  # (2,)
            expected += float(slope.square().mean())
    assert losses.r1_penalty(judge(x), x).item() == pytest.approx(expected, rel=1e-7)


def test_reconstruction() -> None:
    images, redrawn = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    expected = np.abs(images.numpy() - redrawn.numpy()).sum() / (2 * 3 * 4 * 4)
    assert losses.reconstruction(images, redrawn).item() == pytest.approx(expected, rel=1e-12)


def test_feature_difference_is_in_units_of_each_channels_deviation() -> None:
    shapes = (2, 3, 4, 4), (2, 5, 2, 2)
    real, drawn = ([normal(*shape, seed=seed) for shape in shapes] for seed in (0, 1))
    units = [normal(shape[1], seed=2).abs() + 0.1 for shape in shapes]
    expected = 0.0
    for x, y, unit in zip(real, drawn, units, strict=True):
        each = [np.abs(x[:, c].numpy() - y[:, c].numpy()).mean() / unit[c].item() for c in range(x.shape[1])]
        expected += np.mean(each) / 2
    assert losses.feature_difference(real, drawn, units).item() == pytest.approx(expected, rel=1e-12)


def test_label_cross_entropy_counts_labelled_rows_alone() -> None:
    logits, logits_plus = normal(5, 3).requires_grad_(), normal(5, 3, seed=1)
    labels = [2, -1, 0, -1, 1]
    expected = 0.0
    for view in (logits.detach().numpy(), logits_plus.numpy()):
        expected += sum(logsumexp(view[n]) - view[n, y] for n, y in enumerate(labels) if y >= 0) / 3
    found = losses.label_cross_entropy(logits, logits_plus, torch.tensor(labels))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    found.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=1).gt(0).tolist() == [True, False, True, False, True]


def test_label_cross_entropy_without_labels_is_nothing() -> None:
    logits = normal(3, 2).requires_grad_()
    found = losses.label_cross_entropy(logits, normal(3, 2), torch.full((3,), -1))
    assert found.item() == 0
    found.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def all_patches(image: Array) -> Array:
    """(3, 32, 32) -> (169, 192), 8 pixels wide and 2 apart."""
    places = range(0, 25, 2)
    return np.stack([image[:, row : row + 8, column : column + 8].ravel() for row in places for column in places])


def test_patch_difference() -> None:
    drawn, references = normal(2, 3, 32, 32).requires_grad_(), normal(2, 3, 32, 32, seed=1).requires_grad_()
    found = []
    for image, reference in zip(drawn.detach().numpy(), references.detach().numpy(), strict=True):
        ours, theirs = all_patches(image), all_patches(reference)
        squared = np.array([[np.mean((a - b) ** 2) for b in theirs] for a in ours])
        chosen = theirs[(squared / (squared.min(axis=0) + 0.02)).argmin(axis=1)]
        found.append(np.abs(ours - chosen).mean())
    value = losses.patch_difference(drawn, references)
    assert value.item() == pytest.approx(np.mean(found), rel=1e-12)
    value.backward()
    assert drawn.grad is not None
    assert drawn.grad.abs().max() > 0


def test_patches_of_a_larger_image_are_those_of_its_averages() -> None:
    drawn, references = normal(2, 3, 64, 64), normal(2, 3, 64, 64, seed=1)
    small = (x.unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean(dim=(3, 5)) for x in (drawn, references))
    expected = losses.patch_difference(*small).item()
    assert losses.patch_difference(drawn, references).item() == pytest.approx(expected, rel=1e-12)


def test_patches_that_are_elsewhere_in_the_reference_are_alike() -> None:
    reference = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    reference[..., 8:16, 8:16] = 1.0
    assert losses.patch_difference(reference.roll(8, dims=3), reference).item() == 0.0
    assert losses.patch_difference(reference.transpose(2, 3), reference).item() == 0.0
    assert losses.patch_difference(reference + 0.5, reference).item() == pytest.approx(0.5)


def test_a_patch_that_nothing_is_like_yet_is_wanted_most() -> None:
    reference = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    reference[..., 16:] = 1.0
    drawn = torch.zeros_like(reference)
    drawn[..., 16:] = 0.45  # nearer to the black half, which is drawn already
    drawn.requires_grad_()
    losses.patch_difference(drawn, reference).backward()
    assert drawn.grad is not None
    assert drawn.grad[..., 16:].max() <= 0  # towards the white half
    assert drawn.grad[..., 24:].max() < 0
