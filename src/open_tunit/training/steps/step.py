"""The training step of the recipes that train E: all phases, with labels for no, some or all images.

E's trunk runs six times (x, x+, keys, references' keys, x again after its update, the translations), G's
encoder once, its decoder once on both styles: the mathematics of the published step without its repetitions.
Where E's trunk is frozen, its features of x and x+ are computed once for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit import losses
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.device import exact_float32
from open_tunit.networks.guides import Guide
from open_tunit.networks.guiding import Guidance
from open_tunit.training.plan import Phase
from open_tunit.training.steps import objectives
from open_tunit.training.steps.any_step import AnyStep
from open_tunit.training.steps.descent import descend, fixed
from open_tunit.training.steps.state import State, decay_at, full, set_rate, update_average


class Step(AnyStep):
    """AnyStep where E is trained. bfloat16 is for all but R1, losses and statistics of the batch."""

    def update(self, state: State, batch: Batch, phase: Phase, patch_weight: Tensor | None) -> objectives.Terms:
        """E on its own loss, D, then G and E; as many of them as the phase trains."""
        frozen = self._frozen_features(state, batch, phase)
        keys = self._momentum_keys(state, batch, phase, frozen)
        terms: objectives.Terms = {}
        if phase.train_guiding:
            terms |= self._update_guiding(state, batch, phase, keys, frozen)
        if phase.train_generator:
            terms |= self._update_discriminator_and_generator(state, batch, phase, keys, frozen, patch_weight)
        state.keys.push(objectives.contrast_code(keys.plus, self.plan))
        state.logits.push(keys.plus.logits)
        return terms

    def prepare(self, state: State, phase: Phase) -> None:
        """Which parts are trained in the phase, in which mode, and at which rate E is."""
        for guide in (state.E, state.E_ema):
            guide.train(phase.train_guiding and not phase.freeze_domains)
        unfrozen = state.E.style_head if state.E.palette_head is None else state.E.palette_head
        for part in (state.E.trunk, state.E.domain_head, state.E.shape_head, state.E.style_head):
            if part is not None:
                part.requires_grad_(part is unfrozen or not phase.freeze_domains)
        if state.E.palette_head is not None:
            state.E.palette_head.requires_grad_(phase.train_generator)
        set_rate(state.opt_E, phase.guiding_learning_rate)
        set_rate(state.opt_G, self.plan.training.learning_rate * phase.generator_rate)

    def _guidance(self, E: Guide, x: Tensor, phase: Phase, features: Features | None = None) -> Guidance:
        """E's outputs for x, from `features` of its frozen trunk where they are given.

        Before G learns without the palette: one that is open already (of a model to start from) would satisfy the
        style contrast by colours alone.
        """
        with self._autocast(x), self._share(phase).batch_norm():
            guidance = Guidance(*(full(part) for part in (E(x) if features is None else E.read(*features))))
        palette = self.plan.config.model.palette_dim
        if phase.train_generator or not palette:
            return guidance
        return guidance._replace(style=F.pad(guidance.style[:, :-palette], (0, palette)))

    def _guidance_of_all(self, E: Guide, x: Tensor, phase: Phase, features: Features | None = None) -> Guidance:
        """E's outputs for all B images of the batch, of which x is this process's part."""
        return self._share(phase).gather(self._guidance(E, x, phase, features))

    @torch.no_grad()
    def _frozen_features(self, state: State, batch: Batch, phase: Phase) -> _Frozen:
        """The features of x and x+ from a frozen trunk, the same in E and its average; None where it is trained."""
        if not phase.freeze_domains:
            return _Frozen(None, None)
        with self._autocast(batch.x):
            features, colours = state.E.features(torch.cat([batch.x, batch.x_plus]))
        (plain, plus), (plain_colours, plus_colours) = features.chunk(2), colours.chunk(2)
        return _Frozen((plain, plain_colours), (plus, plus_colours))

    @torch.no_grad()
    def _momentum_keys(self, state: State, batch: Batch, phase: Phase, frozen: _Frozen) -> _Keys:
        plus = self._guidance_of_all(state.E_ema, batch.x_plus, phase, frozen.plus)
        plain = self._guidance_of_all(state.E_ema, batch.x, phase, frozen.plain)
        if not len(state.keys.rows):
            state.keys.push(objectives.contrast_code(plus, self.plan))
        return _Keys(plain, plus)

    def _update_guiding(
        self, state: State, batch: Batch, phase: Phase, keys: _Keys, frozen: _Frozen
    ) -> objectives.Terms:
        inputs = objectives.GuidingInputs(
            view=self._guidance_of_all(state.E, batch.x, phase, frozen.plain),
            view_domain=None if phase.freeze_domains else self._guidance_of_all(state.E, batch.x_domain, phase),
            key=keys.plus,
            momentum=keys.plain,
            negatives=state.keys.rows,
            recent_logits=state.logits.rows,
            labels=batch.labels,
            unlabelled=batch.unlabelled,
        )
        objective = objectives.guiding(inputs, self.plan, phase)
        return descend(objective, "E", [(state.E, state.opt_E)], state.step, self._share(phase))

    def _update_discriminator_and_generator(
        self,
        state: State,
        batch: Batch,
        phase: Phase,
        keys: _Keys,
        frozen: _Frozen,
        patch_weight: Tensor | None,
    ) -> objectives.Terms:
        share = self._share(phase)
        guidance = self._guidance_of_all(state.E, batch.x, phase, frozen.plain)
        domains_of_all = self._domains(guidance, keys, batch.labels)
        domains, style = domains_of_all[share.rows], guidance.style[share.rows]
        reference_domains = domains_of_all[batch.permutation]
        penalised = None
        if self.plan.penalised(phase):
            penalised = self._penalised(state, batch, domains, reference_domains)
        with self._autocast(batch.x):
            content = state.G.encode(batch.x_content)
            styles = torch.cat([guidance.style[batch.permutation], style])
            drawn = full(state.G.decode(torch.cat([content, content]), styles))  # translations, reconstructions
        translation, reconstruction = drawn.chunk(2)

        d_objective = self._discriminator(state, batch, domains, reference_domains, translation.detach(), penalised)
        d_terms = descend(d_objective, "D", [(state.D, state.opt_D)], state.step, share)

        with fixed(state.D), self._autocast(batch.x):
            outputs = full(state.D(drawn))
        fakes = _at(outputs, torch.cat([reference_domains, domains]))
        fake_translation, fake_reconstruction = fakes.chunk(2)
        translated = self._translated(state.E, batch, phase, translation)
        inputs = objectives.GeneratorInputs(
            x=batch.x,
            references=batch.references,
            translation=translation,
            reconstruction=reconstruction,
            cycled=self._cycled(state, batch, translation, style),
            fake_translation=fake_translation,
            fake_reconstruction=fake_reconstruction,
            translation_code=objectives.contrast_code(translated, self.plan),
            translation_logits=translated.logits,
            reference_domains=reference_domains,
            reference_code=objectives.contrast_code(keys.plain, self.plan)[batch.permutation],
            negatives=state.keys.rows,
        )
        g_objective = objectives.generator(inputs, self.plan, phase, patch_weight)
        if batch.pairs is not None and self.plan.pair_weight > 0:
            with self._autocast(batch.x):
                paired = self._drawn_pairs(state, batch.pairs, content)
            g_objective = g_objective.plus(objectives.pairs(paired, batch.pairs, self.plan.pair_weight))
        learners: list[tuple[nn.Module, torch.optim.Optimizer]] = [(state.G, state.opt_G)]
        if phase.train_guiding:
            learners.append((state.E, state.opt_E))
        return d_terms | descend(g_objective, "G", learners, state.step, share)

    def _translated(self, E: Guide, batch: Batch, phase: Phase, translation: Tensor) -> Guidance:
        """E's outputs for the translations."""
        if self.plan.recipe.translation_view:
            translation = views.translation_view(translation, batch.translation_numbers, self.plan.views)
        if self.plan.recipe.translations_train_guiding:
            return self._guidance(E, translation, phase)
        with fixed(E):
            return self._guidance(E, translation, phase)

    def _cycled(self, state: State, batch: Batch, translation: Tensor, style: Tensor) -> Tensor | None:
        """The sources reconstructed from their detached, recoloured translations, which can hide nothing."""
        if self.plan.cycle_weight == 0:
            return None
        source = views.content_view(translation.detach(), batch.translation_numbers)
        with self._autocast(translation):
            return full(state.G(source, style))

    def _domains(self, guidance: Guidance, keys: _Keys, labels: Tensor) -> Tensor:
        """(B,) the domain at which D reads each image: its label, or its pseudo label."""
        momentum = self.plan.recipe.pseudo_labels == "momentum"
        pseudo = (keys.plain if momentum else guidance).logits.argmax(dim=1)
        return torch.where(labels >= 0, labels, pseudo)

    def _penalised(
        self, state: State, batch: Batch, domains: Tensor, reference_domains: Tensor
    ) -> objectives.Objective:
        """D on real images with the gradient penalty, in float32, which R1 differentiates twice.

        Its gradient stays in D until D's step; so the memory it took is free again when G's images need theirs.
        """
        images = batch.x.detach().requires_grad_()
        with exact_float32():
            outputs = state.D(images)
            r1 = losses.r1_penalty(_at(outputs, domains), images)
            objective = self._on_real(outputs, domains, reference_domains, r1)
            torch.autograd.backward(objective.total, inputs=list(state.D.parameters()))
        return objective.learned()

    def _discriminator(
        self,
        state: State,
        batch: Batch,
        domains: Tensor,
        reference_domains: Tensor,
        translation: Tensor,
        penalised: objectives.Objective | None,
    ) -> objectives.Objective:
        """D's loss on the batch, unless that was `penalised` already, and on its translations."""
        if penalised is not None:
            with self._autocast(batch.x):
                fake = full(state.D(translation))
            real = penalised
        else:
            with self._autocast(batch.x):
                outputs, fake = full(state.D(torch.cat([batch.x, translation]))).chunk(2)
            real = self._on_real(outputs, domains, reference_domains, None)
        return real.plus(objectives.discriminator_fake(_at(fake, reference_domains), self.plan))

    def _on_real(
        self, outputs: Tensor, domains: Tensor, reference_domains: Tensor, r1: Tensor | None
    ) -> objectives.Objective:
        mismatched = None
        if self.plan.recipe.mismatched_fakes:
            next_domains = (domains + 1) % self.plan.config.model.domains
            mismatched = _at(outputs, torch.where(reference_domains == domains, next_domains, reference_domains))
        return objectives.discriminator_real(_at(outputs, domains), mismatched, r1, self.plan)

    def finish(self, state: State, phase: Phase) -> None:
        """Update the averages, whose decay changes from step to step, and count the step."""
        decay, warmup = self.plan.training.average_decay, self.plan.recipe.average_warmup
        for average, network, steps, trained in (
            (state.E_ema, state.E, state.step, True),
            (state.G_ema, state.G, phase.generator_steps, phase.train_generator),
        ):
            if trained:
                update_average(average, network, decay=decay_at(steps, decay=decay, warmup=warmup))
        state.step += 1


Features = tuple[Tensor, Tensor]


class _Frozen(NamedTuple):
    """The features of a frozen trunk of x and of x+; None where it is trained."""

    plain: Features | None
    plus: Features | None


class _Keys(NamedTuple):
    """The momentum copy on x and on x+, of all images of the batch."""

    plain: Guidance
    plus: Guidance


def _at(logits: Tensor, domains: Tensor) -> Tensor:
    return logits.gather(1, domains[:, None])[:, 0]
