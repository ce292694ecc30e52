"""One training step with a frozen E: G, and a projected discriminator on the features of E's trunk.

Features of real images need no gradient; those of G's images are computed once, for D's loss and for G's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from open_tunit import losses
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.networks.projected import ProjectedDiscriminator, at_domains
from open_tunit.training.plan import Phase
from open_tunit.training.steps import objectives
from open_tunit.training.steps.any_step import AnyStep
from open_tunit.training.steps.descent import descend, fixed
from open_tunit.training.steps.state import State, decay_at, full, set_rate, update_average


class PretrainedStep(AnyStep):
    """The step of a fitted E, of G and D alone.

    bfloat16 is for G. The trunk and D stay in float32: depthwise convolutions are no faster in half.
    """

    def prepare(self, state: State, phase: Phase) -> None:
        """E in eval mode, and G's rate in the phase."""
        state.E.eval()
        state.E_ema.eval()
        set_rate(state.opt_G, self.plan.training.learning_rate * phase.generator_rate)

    def finish(self, state: State, phase: Phase) -> None:
        """G's average, and the step's number."""
        decay, warmup = self.plan.training.average_decay, self.plan.recipe.average_warmup
        update_average(state.G_ema, state.G, decay=decay_at(phase.generator_steps, decay=decay, warmup=warmup))
        state.step += 1

    def update(self, state: State, batch: Batch, phase: Phase, patch_weight: Tensor | None) -> objectives.Terms:
        """D, then G. There is no patch loss."""
        assert batch.styles is not None
        assert batch.domains is not None
        E, D, share = state.E, state.D, self._share(phase)
        assert isinstance(E, PretrainedGuiding)
        assert isinstance(D, ProjectedDiscriminator)
        domains, style = batch.domains[share.rows], batch.styles[share.rows]
        at = torch.cat([batch.domains[batch.permutation], domains])  # of translations, of reconstructions
        with self._autocast(batch.x):
            content = state.G.encode(batch.x_content)
            styles = torch.cat([batch.styles[batch.permutation], style])
            drawn = full(state.G.decode(torch.cat([content, content]), styles))
        translation, reconstruction = drawn.chunk(2)
        with torch.no_grad():
            real = E.trunk(batch.x)
        fake = E.trunk(drawn)

        d_objective = self._discriminator(D, real, [level.detach() for level in fake], domains, at)
        d_terms = descend(d_objective, "D", [(D, state.opt_D)], state.step, share)

        with fixed(D):
            adversarial = at_domains(
                D(fake), at, lambda outputs: losses.generator_adversarial(outputs, kind=self.plan.training.adversarial)
            )
        g_objective = self._generator(adversarial, batch, reconstruction)
        if self.plan.training.feature_weight > 0:
            g_objective = g_objective.plus(self._features(D, real, [level[len(domains) :] for level in fake]))
        if self.plan.cycle_weight > 0:
            g_objective = g_objective.plus(self._cycle(state, batch, translation, style))
        if batch.pairs is not None and self.plan.pair_weight > 0:
            with self._autocast(batch.x):
                paired = self._drawn_pairs(state, batch.pairs, content)
            g_objective = g_objective.plus(objectives.pairs(paired, batch.pairs, self.plan.pair_weight))
        return d_terms | descend(g_objective, "G", [(state.G, state.opt_G)], state.step, share)

    def _discriminator(
        self, D: ProjectedDiscriminator, real: list[Tensor], fake: list[Tensor], domains: Tensor, at: Tensor
    ) -> objectives.Objective:
        """Losses at every place; real images at another domain's output count half as fakes."""
        references = at[: len(domains)]
        outputs, kind = D(real), self.plan.training.adversarial
        terms = {
            "d_real": at_domains(outputs, domains, lambda x: losses.discriminator_on_real(x, kind=kind)),
            "d_fake": at_domains(D(fake), at, lambda x: losses.discriminator_on_fake(x, kind=kind)),
        }
        total = terms["d_real"] + terms["d_fake"]
        if self.plan.recipe.mismatched_fakes:
            another = (domains + 1) % self.plan.config.model.domains
            wrong = torch.where(references == domains, another, references)
            terms["d_mismatched"] = at_domains(outputs, wrong, lambda x: losses.discriminator_on_fake(x, kind=kind))
            total = total + terms["d_mismatched"] / 2
        return objectives.Objective(total, {name: value.detach() for name, value in terms.items()})

    def _generator(self, adversarial: Tensor, batch: Batch, reconstruction: Tensor) -> objectives.Objective:
        training = self.plan.training
        l1 = losses.reconstruction(batch.x, reconstruction)
        total = training.adversarial_weight * adversarial + training.reconstruction_weight * l1
        return objectives.Objective(total, {"g_adversarial": adversarial.detach(), "reconstruction": l1.detach()})

    def _features(
        self, D: ProjectedDiscriminator, real: list[Tensor], reconstructed: list[Tensor]
    ) -> objectives.Objective:
        """At D's levels, in units of the channels' deviations there."""
        deviations = D.projection.deviations
        loss = losses.feature_difference(real[: len(deviations)], reconstructed[: len(deviations)], deviations)
        return objectives.Objective(self.plan.training.feature_weight * loss, {"features": loss.detach()})

    def _cycle(self, state: State, batch: Batch, translation: Tensor, style: Tensor) -> objectives.Objective:
        """The sources reconstructed from their detached, recoloured translations."""
        source = views.content_view(translation.detach(), batch.translation_numbers)
        with self._autocast(translation):
            cycled = full(state.G(source, style))
        loss = losses.reconstruction(batch.x, cycled)
        return objectives.Objective(self.plan.cycle_weight * loss, {"cycle": loss.detach()})
