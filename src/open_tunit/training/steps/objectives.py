"""What E, D and G minimise: each function returns a total and its named, unweighted, detached terms."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit import losses
from open_tunit.data.batches import PairTargets
from open_tunit.networks.guiding import Guidance
from open_tunit.training.plan import Phase, Plan

Terms = dict[str, Tensor]
SHAPE_TEMPERATURE = 0.2
"""Of the shape contrast."""
SINKHORN_EPSILON = 0.4
"""Temperature of the balanced assignment of standardised logits."""
STANDARD_FLOOR = 1e-6


class Objective(NamedTuple):
    """A total to call backward on, and the terms it was made of."""

    total: Tensor
    terms: Terms

    def plus(self, other: Objective) -> Objective:
        """Both at once."""
        return Objective(self.total + other.total, self.terms | other.terms)

    def learned(self) -> Objective:
        """The same numbers, for an objective whose gradient was taken."""
        return self._replace(total=self.total.detach())


class GuidingInputs(NamedTuple):
    """What E's loss reads. The momentum copy's share carries no gradient."""

    view: Guidance
    view_domain: Guidance | None
    """E on the domain view; with the paper's views that is x+. None where E's domains are frozen."""
    key: Guidance
    """The momentum copy on x+."""
    momentum: Guidance
    """The momentum copy on x."""
    negatives: Tensor
    recent_logits: Tensor
    labels: Tensor
    unlabelled: Tensor
    """Places of the images without a label."""


def contrast_code(guidance: Guidance, plan: Plan) -> Tensor:
    """The style codes (N, style_dim) as the style contrast compares them."""
    return F.normalize(guidance.style, dim=1) if plan.recipe.normalize_contrast else guidance.style


def guiding(inputs: GuidingInputs, plan: Plan, phase: Phase) -> Objective:
    """E's own loss: weight * (InfoNCE + shape contrast + domain objective + cross-entropy, each with its weight).

    Where the domains are frozen it is weight * InfoNCE.
    """
    recipe, weight = plan.recipe, phase.guiding_weight
    contrast = losses.info_nce(
        contrast_code(inputs.view, plan),
        contrast_code(inputs.key, plan),
        inputs.negatives,
        temperature=plan.training.temperature,
        in_batch=recipe.contrast_in_batch,
    )
    terms = {"style_contrast": contrast}
    if inputs.view_domain is None:
        return Objective(weight * contrast, _detached(terms))
    total = contrast if phase.learn_domains else recipe.early_style_weight * contrast
    if recipe.shape_weight > 0:
        terms["shape_contrast"] = losses.nt_xent(
            inputs.view.shape, inputs.view_domain.shape, temperature=SHAPE_TEMPERATURE
        )
        total = total + recipe.shape_weight * terms["shape_contrast"]
    if plan.supervision != "all" and phase.learn_domains:
        name, value = _domain_objective(inputs, inputs.view_domain.logits, plan)
        terms[name] = value
        total = total + recipe.domain_weight * value
    if plan.label_weight > 0:
        terms["labels"] = losses.label_cross_entropy(inputs.view.logits, inputs.view_domain.logits, inputs.labels)
        total = total + plan.label_weight * terms["labels"]
    return Objective(weight * total, _detached(terms))


def _domain_objective(inputs: GuidingInputs, view_logits: Tensor, plan: Plan) -> tuple[str, Tensor]:
    """The domain objective over the batch's unlabelled images; labelled ones have the cross-entropy instead."""
    free = inputs.unlabelled if plan.supervision == "some" else slice(None)
    logits, logits_plus = inputs.view.logits[free], view_logits[free]
    if plan.recipe.domain_objective == "mutual_information":
        if not len(logits):
            return "mutual_information", inputs.view.logits.new_zeros(())
        return "mutual_information", losses.mutual_information(logits, logits_plus)
    if not len(logits):
        return "prototypes", inputs.view.logits.new_zeros(())
    targets = _balanced(inputs.momentum.logits[free], inputs.recent_logits)
    targets_plus = _balanced(inputs.key.logits[free], inputs.recent_logits)
    return "prototypes", losses.swapped_prediction(logits, logits_plus, targets, targets_plus)


def _balanced(logits: Tensor, recent: Tensor) -> Tensor:
    scores = torch.cat([logits.detach(), recent])
    spread = scores.std(dim=0).clamp(min=STANDARD_FLOOR) if len(scores) > 1 else torch.ones_like(scores[0])
    scores = (scores - scores.mean(dim=0)) / spread
    return losses.balanced_assignment(scores, epsilon=SINKHORN_EPSILON)[: len(logits)]


def discriminator_real(real: Tensor, mismatched: Tensor | None, r1: Tensor | None, plan: Plan) -> Objective:
    """D's loss on real images: its outputs (N,) at the right domain, and the gradient penalty where it is due.

    `mismatched` (N,): its outputs at a wrong domain, which count as fakes (Reed et al. 2016), as much as translations;
    None where the recipe has no mismatched fakes.
    """
    training = plan.training
    total = losses.discriminator_on_real(real, kind=training.adversarial)
    terms = {"d_real": total}
    if mismatched is not None:
        terms["d_mismatched"] = losses.discriminator_on_fake(mismatched, kind=training.adversarial)
        total = total + terms["d_mismatched"] / 2
    if r1 is not None:
        terms["r1"] = r1
        total = total + training.r1_weight * training.r1_every * r1
    return Objective(total, _detached(terms))


def discriminator_fake(fake: Tensor, plan: Plan) -> Objective:
    """D's loss on translations, at outputs (N,); half of the loss on fakes where the other half is on mismatches."""
    d_fake = losses.discriminator_on_fake(fake, kind=plan.training.adversarial)
    total = d_fake / 2 if plan.recipe.mismatched_fakes else d_fake
    return Objective(total, _detached({"d_fake": d_fake}))


class GeneratorInputs(NamedTuple):
    """What G's loss reads."""

    x: Tensor
    references: Tensor
    translation: Tensor
    """G(x, the references' styles)."""
    reconstruction: Tensor
    """G(x, its own style)."""
    cycled: Tensor | None
    """G(translation, x's own style), where the cycle counts."""
    fake_translation: Tensor
    """D's output (N,) on the translations, at the references' domains."""
    fake_reconstruction: Tensor
    """D's output (N,) on the reconstructions, at the sources' domains."""
    translation_code: Tensor
    """E's contrast code of the translations."""
    translation_logits: Tensor
    """E's logits (N, K) of the translations."""
    reference_domains: Tensor
    """(N,) at whose outputs D is read."""
    reference_code: Tensor
    """The momentum copy's contrast code of the references."""
    negatives: Tensor


def generator(inputs: GeneratorInputs, plan: Plan, phase: Phase, patch_weight: Tensor | None = None) -> Objective:
    """The loss of G, and of E through the style codes; `patch_weight` stands for the phase's where that is above 0."""
    training = plan.training
    terms = {
        "g_translation": losses.generator_adversarial(inputs.fake_translation, kind=training.adversarial),
        "g_reconstruction": losses.generator_adversarial(inputs.fake_reconstruction, kind=training.adversarial),
        "reconstruction": losses.reconstruction(inputs.x, inputs.reconstruction),
        "translation_style": losses.info_nce(
            inputs.translation_code, inputs.reference_code, inputs.negatives, temperature=training.temperature
        ),
    }
    total = (
        training.adversarial_weight * (terms["g_translation"] + terms["g_reconstruction"])
        + training.reconstruction_weight * terms["reconstruction"]
        + training.translation_style_weight * terms["translation_style"]
    )
    if inputs.cycled is not None:
        terms["cycle"] = losses.reconstruction(inputs.x, inputs.cycled)
        total = total + plan.cycle_weight * terms["cycle"]
    if phase.patch_weight > 0:
        terms["patches"] = losses.patch_difference(inputs.translation, inputs.references)
        total = total + (phase.patch_weight if patch_weight is None else patch_weight) * terms["patches"]
    if training.translation_domain_weight > 0:
        terms["translation_domain"] = F.cross_entropy(inputs.translation_logits, inputs.reference_domains)
        total = total + training.translation_domain_weight * terms["translation_domain"]
    return Objective(total, _detached(terms))


def pairs(drawn: Tensor, targets: PairTargets, weight: float) -> Objective:
    """G's L1 (M, 3, S, S) to the pairs found for its sources, each counted by its similarity.

    A method of ours; the nearest ideas are retrieval as supervision and staged training (docs/method.md).
    """
    errors = (drawn - targets.pictures).abs().mean(dim=(1, 2, 3))  # (M,)
    loss = (targets.weights * errors).mean()
    return Objective(weight * loss, {"pairs": loss.detach()})


def _detached(terms: Terms) -> Terms:
    return {name: value.detach() for name, value in terms.items()}
