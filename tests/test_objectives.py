"""What E, D and G minimise."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import (
    DOMAINS,
    places_without_label,
    tiny,
)

from open_tunit import losses
from open_tunit.networks.guiding import Guidance
from open_tunit.training.plan import Plan
from open_tunit.training.steps import objectives


def guiding(inputs: objectives.GuidingInputs, plan: Plan, *, weight: float = 1.0, learn_domains: bool = True) -> Any:
    phase = dataclasses.replace(plan.phase(0), guiding_weight=weight, learn_domains=learn_domains)
    return objectives.guiding(inputs, plan, phase)


def generator(inputs: objectives.GeneratorInputs, plan: Plan, *, patch_weight: float = 0.0) -> Any:
    return objectives.generator(inputs, plan, dataclasses.replace(plan.phase(0), patch_weight=patch_weight))


def guidances(labels: list[int], *, momentum: int = 0, seed: int = 0) -> objectives.GuidingInputs:
    count = len(labels)
    random = np.random.default_rng(seed)
    a, b, c, d = (
        Guidance(*(torch.from_numpy(random.normal(size=(count, width))) for width in (DOMAINS, 6, 5))) for _ in range(4)
    )
    return objectives.GuidingInputs(
        view=a,
        view_domain=b,
        key=c,
        momentum=d,
        negatives=torch.from_numpy(random.normal(size=(7, 6))),
        recent_logits=torch.from_numpy(random.normal(size=(momentum, DOMAINS))),
        labels=torch.tensor(labels),
        unlabelled=places_without_label(labels),
    )


def test_the_guiding_loss_is_the_papers() -> None:
    inputs = guidances([-1] * 5)
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    information = losses.mutual_information(inputs.view.logits, inputs.view_domain.logits)
    found = guiding(inputs, tiny(), weight=0.1)
    assert found.total.item() == pytest.approx(0.1 * (contrast + 5 * information).item(), rel=1e-12)
    assert {name: value.item() for name, value in found.terms.items()} == pytest.approx(
        {"style_contrast": contrast.item(), "mutual_information": information.item()}
    )


def test_labelled_images_have_cross_entropy_and_the_others_mutual_information() -> None:
    inputs = guidances([0, -1, 2, -1, -1, 1])
    free = [1, 3, 4]
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    information = losses.mutual_information(inputs.view.logits[free], inputs.view_domain.logits[free])
    labels = torch.tensor([0, 2, 1])
    entropy = sum(F.cross_entropy(view.logits[[0, 2, 5]], labels) for view in (inputs.view, inputs.view_domain))
    found = guiding(inputs, tiny(supervision="some"))
    assert found.total.item() == pytest.approx((contrast + 5 * information + 5 * entropy).item(), rel=1e-12)


def test_with_all_labels_there_is_no_mutual_information() -> None:
    inputs = guidances([0, 1, 2, 0])
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    found = guiding(inputs, tiny(supervision="all"), weight=0.1)
    assert found.total.item() == pytest.approx(0.1 * contrast.item(), rel=1e-12)
    with_labels = guiding(inputs, tiny(supervision="all", recipe__supervised_label_weight=2.0))
    assert set(with_labels.terms) == {"style_contrast", "labels"}


def test_before_domains_are_sought_the_style_contrast_is_weighed_down() -> None:
    plan = tiny(recipe__early_style_weight=0.2, recipe__shape_weight=2.0, model__projection_dim=5)
    inputs = guidances([-1] * 5)
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    shape = losses.nt_xent(inputs.view.shape, inputs.view_domain.shape, temperature=objectives.SHAPE_TEMPERATURE)
    found = guiding(inputs, plan, learn_domains=False)
    assert found.total.item() == pytest.approx((0.2 * contrast + 2 * shape).item(), rel=1e-12)
    information = losses.mutual_information(inputs.view.logits, inputs.view_domain.logits)
    found = guiding(inputs, plan)
    assert found.total.item() == pytest.approx((contrast + 2 * shape + 5 * information).item(), rel=1e-12)


def test_balanced_prototypes_predict_each_others_standardised_assignment() -> None:
    plan = tiny(recipe__domain_objective="balanced_prototypes", recipe__domain_weight=1.0)
    inputs = guidances([-1] * 5, momentum=9)
    targets = []
    for guidance in (inputs.momentum, inputs.key):
        scores = torch.cat([guidance.logits, inputs.recent_logits]).numpy()
        shares = np.exp((scores - scores.mean(axis=0)) / scores.std(axis=0, ddof=1) / objectives.SINKHORN_EPSILON)
        for _ in range(3):
            shares = shares / shares.sum(axis=0)
            shares = shares / shares.sum(axis=1, keepdims=True)
        targets.append(torch.from_numpy(shares[:5]))
    log_p, log_p_plus = inputs.view.logits.log_softmax(dim=1), inputs.view_domain.logits.log_softmax(dim=1)
    expected = -((targets[1] * log_p).sum() + (targets[0] * log_p_plus).sum()) / 10
    found = guiding(inputs, plan).terms["prototypes"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("free", [0, 1])
@pytest.mark.parametrize("objective", ["mutual_information", "balanced_prototypes"])
def test_a_batch_with_hardly_any_unlabelled_image_gives_a_finite_loss(objective: str, free: int) -> None:
    inputs = guidances([-1] * free + [0, 1, 2])
    found = guiding(inputs, tiny(supervision="some", recipe__domain_objective=objective))
    assert torch.isfinite(found.total)


def test_the_other_losses_are_weighed_as_published() -> None:
    real, fake, r1 = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.0]), torch.tensor(0.3)
    paper = objectives.discriminator_real(real, None, r1, tiny())
    both = paper.plus(objectives.discriminator_fake(fake, tiny()))
    assert both.total.item() == pytest.approx(0.25 + 10 * 0.3 + 1.25)
    assert {name: term.item() for name, term in both.terms.items()} == pytest.approx(
        {"d_real": 0.25, "r1": 0.3, "d_fake": 1.25}
    )
    lazy = tiny(training__r1_every=4)
    assert objectives.discriminator_real(real, None, r1, lazy).total.item() == pytest.approx(0.25 + 40 * 0.3)
    assert objectives.discriminator_real(real, None, None, lazy).total.item() == pytest.approx(0.25)
    strict = tiny(recipe__mismatched_fakes=True)
    wrong = objectives.discriminator_real(real, torch.tensor([0.0, -3.0]), None, strict)
    assert wrong.total.item() == pytest.approx(0.25 + 0.5 / 2)
    assert wrong.terms["d_mismatched"].item() == pytest.approx(0.5)
    assert objectives.discriminator_fake(fake, strict).total.item() == pytest.approx(1.25 / 2)
    x, reconstruction = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5)
    codes = guidances([-1, -1])
    query, key = codes.view.style, codes.key.style
    inputs = objectives.GeneratorInputs(
        x=x,
        references=x,
        translation=x,
        reconstruction=reconstruction,
        cycled=None,
        fake_translation=fake,
        fake_reconstruction=real,
        translation_code=query,
        translation_logits=torch.zeros(len(x), DOMAINS),
        reference_domains=torch.zeros(len(x), dtype=torch.int64),
        reference_code=key,
        negatives=codes.negatives,
    )
    contrast = losses.info_nce(query, key, codes.negatives, temperature=0.07)
    expected = -0.25 - 1.25 + 0.1 * 0.5 + 0.01 * contrast.item()
    assert generator(inputs, tiny()).total.item() == pytest.approx(expected, rel=1e-6)

    more = tiny(training__cycle_weight=3.0, training__translation_domain_weight=2.0, training__adversarial_weight=0.5)
    logits = torch.tensor([[0.0, math.log(3.0), 0.0]]).repeat(len(x), 1)
    inputs = inputs._replace(cycled=x + 0.25, translation_logits=logits, reference_domains=inputs.reference_domains + 1)
    found = generator(inputs, more)
    expected += 0.5 * (0.25 + 1.25) + 3.0 * 0.25 + 2.0 * math.log(5 / 3)
    assert found.total.item() == pytest.approx(expected, rel=1e-6)
    assert {"cycle", "translation_domain"} <= set(found.terms)

    drawn = torch.full((2, 3, 32, 32), 0.25)
    inputs = inputs._replace(references=drawn - 1, translation=drawn)
    patches = generator(inputs, more, patch_weight=2.0)
    assert patches.total.item() == pytest.approx(expected + 2.0 * 1.0, rel=1e-6)
    assert patches.terms["patches"].item() == pytest.approx(1.0)
