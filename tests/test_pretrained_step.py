"""The step of the recipe `pretrained`: G and a projected discriminator, on features of a frozen trunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import parameters, same

from open_tunit import TUNIT, Config, losses
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.networks.backbone import Backbone
from open_tunit.networks.projected import ProjectedDiscriminator
from open_tunit.training.fitting.pretrained import image_codes
from open_tunit.training.plan import Plan
from open_tunit.training.steps import state as states
from open_tunit.training.steps.methods import make_step
from open_tunit.training.steps.pretrained_step import PretrainedStep
from open_tunit.training.steps.state import State, new_state

COUNT, DOMAINS = 12, 3
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _random_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights' package is not needed: a trunk of random weights that keep the variance."""

    def random() -> Backbone:
        generator, trunk = torch.Generator().manual_seed(0), Backbone()
        for name, value in trunk.named_buffers():
            if name.endswith("weight"):
                value.copy_(torch.randn(value.shape, generator=generator) * math.sqrt(2 / value[0].numel()))
        return trunk

    monkeypatch.setattr(states, "load_backbone", random)


def plan_of(**training: object) -> Plan:
    overrides = {"model.generator_width": 4, "model.style_mlp_width": 16, "discriminator.width": 8, "training.batch": 4}
    with_pairs = {"pair_weight": 5.0, "pair_steps": 2}
    overrides |= {f"training.{name}": value for name, value in (with_pairs | training).items()}
    config = Config.preset("photos", data="photos", out="run", domains=DOMAINS, steps=8, overrides=overrides)
    return Plan.of(config)


def begun(plan: Plan) -> tuple[State, Batches]:
    """A state that is fitted to noise of three colours."""
    random = np.random.default_rng(0)
    colours = np.eye(3)[np.arange(COUNT) % 3] * 200
    pixels = (random.integers(0, 50, (COUNT, 64, 64, 3)) + colours[:, None, None]).astype(np.uint8)
    source = Batches(pixels, np.full(COUNT, -1), np.arange(COUNT), seed=1, view=plan.views, device=CPU)
    state = new_state(plan, CPU)
    source.codes = image_codes(state, source, plan)
    return state, source


def test_the_recipe_has_its_own_step() -> None:
    assert isinstance(make_step(plan_of(), half=False), PretrainedStep)


def test_e_is_fitted_once_and_goes_on_to_the_same_codes() -> None:
    plan = plan_of()
    state, source = begun(plan)
    assert source.codes is not None
    assert source.codes.styles.shape == (COUNT, 128)
    assert len(set(source.codes.domains.tolist())) == DOMAINS
    assert same(state.E, parameters(state.E_ema))
    state.step = 5
    again = image_codes(state, source, plan)
    assert torch.equal(again.styles, source.codes.styles)
    assert (again.domains == source.codes.domains).all()


def test_labels_are_the_domains() -> None:
    plan = plan_of()
    state, source = begun(plan)
    source.labels = np.arange(COUNT) // 4
    assert image_codes(state, source, plan).domains.tolist() == source.labels.tolist()


@pytest.mark.parametrize(("adversarial", "loss"), [("hinge", lambda x: F.relu(1 + x)), ("log", F.softplus)])
def test_a_joint_step_trains_g_and_d_by_the_loss_at_every_place(
    adversarial: str, loss: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    plan = plan_of(pair_weight=0.0, cycle_weight=0.0, adversarial=adversarial)
    state, source = begun(plan)
    batch = source.batch(0, 4)
    assert batch.styles is not None
    assert batch.domains is not None
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    D = new_state(plan, CPU).D
    D.load_state_dict(state.D.state_dict())
    with torch.no_grad():
        content = state.G.encode(batch.x_content)
        drawn = state.G.decode(
            torch.cat([content, content]), torch.cat([batch.styles[batch.permutation], batch.styles])
        )
        real, fake = (D(state.E.trunk(x)) for x in (batch.x, drawn))
    at = torch.cat([batch.domains[batch.permutation], batch.domains])

    def mean(outputs: list[torch.Tensor], domains: torch.Tensor, sign: float) -> float:
        rows = [loss(sign * level[range(len(domains)), domains]).mean() for level in outputs]
        return float(torch.stack(rows).mean())

    terms = PretrainedStep(plan)(state, batch, plan.phase(0))
    assert terms["d_fake"].item() == pytest.approx(mean(fake, at, 1), rel=0.05)  # a power iteration apart
    assert terms["d_real"].item() == pytest.approx(mean(real, batch.domains, -1), rel=0.05)
    l1 = losses.reconstruction(batch.x, drawn[4:])
    assert terms["reconstruction"].item() == pytest.approx(l1.item(), rel=1e-5)
    assert isinstance(state.D, ProjectedDiscriminator)
    trunk, units = state.E.trunk, state.D.projection.deviations
    of_features = losses.feature_difference(trunk(batch.x)[:4], trunk(drawn[4:])[:4], units)
    assert terms["features"].item() == pytest.approx(of_features.item(), rel=1e-4)
    moved = {name for name, values in before.items() if not same(getattr(state, name), values)}
    assert moved == {"G", "G_ema", "D"}


def test_the_cycle_is_the_source_redrawn_from_its_recoloured_translation_which_it_does_not_train() -> None:
    plan = plan_of(pair_weight=0.0, cycle_weight=5.0)
    state, source = begun(plan)
    batch = source.batch(0, 4)
    assert batch.styles is not None
    with torch.no_grad():
        translation = state.G(batch.x_content, batch.styles[batch.permutation])
    cycled = state.G(views.content_view(translation, batch.translation_numbers), batch.styles)
    loss = losses.reconstruction(batch.x, cycled)
    pull = torch.autograd.grad(5.0 * loss, list(state.G.parameters()))
    moved = []
    for weight in (0.0, 5.0):
        plan = plan_of(pair_weight=0.0, cycle_weight=weight)
        state, source = begun(plan)
        state.opt_G = torch.optim.SGD(state.G.parameters(), lr=1e-3)
        terms = PretrainedStep(plan)(state, source.batch(0, 4), plan.phase(0))
        assert ("cycle" in terms) == (weight > 0)
        moved.append(torch.cat([p.detach().flatten() for p in state.G.parameters()]))
    assert terms["cycle"].item() == pytest.approx(loss.item(), rel=1e-5)
    asked = -1e-3 * torch.cat([g.flatten() for g in pull])
    torch.testing.assert_close(moved[1] - moved[0], asked, atol=0.02 * asked.abs().max().item(), rtol=0)


def test_features_of_the_reconstruction_pull_g_by_their_weight() -> None:
    moved = []
    for weight in (0.0, 1.0, 2.0):
        plan = plan_of(pair_weight=0.0, cycle_weight=0.0, feature_weight=weight)
        state, source = begun(plan)
        state.opt_G = torch.optim.SGD(state.G.parameters(), lr=1e-3)
        before = torch.cat([p.detach().flatten() for p in state.G.parameters()])
        terms = PretrainedStep(plan)(state, source.batch(0, 4), plan.phase(0))
        assert ("features" in terms) == (weight > 0)
        after = torch.cat([p.detach().flatten() for p in state.G.parameters()])
        moved.append((after - before, parameters(state.D)))
    (without, D), (once, _), (twice, last_D) = moved
    assert (once - without).norm() > 0.01 * without.norm()
    added = twice - without
    torch.testing.assert_close(added, 2 * (once - without), atol=0.02 * float(added.abs().max()), rtol=0)
    assert all(torch.equal(one, other) for one, other in zip(D, last_D, strict=True))


def test_a_step_of_the_pair_phase_trains_g_alone() -> None:
    from open_tunit.training.fitting.transitions import pair_table

    plan = plan_of()
    state, source = begun(plan)
    source.pairs = pair_table(state, source, plan)
    before = {name: parameters(getattr(state, name)) for name in ("E", "G", "D")}
    assert plan.phase(0).name == "pairs"
    terms = PretrainedStep(plan)(state, source.pair_batch(0, 4, 2), plan.phase(0))
    assert set(terms) == {"pairs"}
    assert {name for name, values in before.items() if not same(getattr(state, name), values)} == {"G"}
    assert "pairs" in PretrainedStep(plan)(state, source.batch(5, 4), plan.phase(5))


def test_a_model_folder_holds_the_trunk_in_half_precision_and_loads_without_the_package(tmp_path: Path) -> None:
    plan = plan_of()
    state, source = begun(plan)
    model = TUNIT(plan.config.model)
    for value in state.E.trunk.buffers():
        value.copy_(value.half().float())  # as the published weights are rounded
    model.E.load_state_dict(state.E.state_dict())
    model.G.load_state_dict(state.G.state_dict())
    model.save_pretrained(tmp_path / "model")
    again = TUNIT.from_pretrained(tmp_path / "model")
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    trunk = sum(value.numel() for value in model.E.trunk.buffers())
    rest = sum(value.numel() for value in model.state_dict().values()) - trunk
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 2 * trunk + 8 * rest + 100_000
    x = source.pictures(np.arange(2))
    assert torch.equal(model.eval().translate(x, x), again.translate(x, x))
