"""One training step: which networks move, by which losses, with what precision."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import (
    COUNT,
    CPU,
    DOMAINS,
    a_batch,
    fresh,
    noisy_batches,
    parameters,
    same,
    tiny,
)
from torch import Tensor

from open_tunit import losses
from open_tunit.data import views
from open_tunit.data.batches import Batch
from open_tunit.training.fitting.transitions import (
    open_palette,
    settle_statistics,
)
from open_tunit.training.plan import Plan
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.state import State, new_state
from open_tunit.training.steps.step import Step


def frozen(palette_dim: int = 2) -> tuple[Plan, State, Step]:
    """A run at its first joint step, whose domains are frozen."""
    plan = tiny(
        recipe__freeze_domains=True,
        training__joint_start=1,
        model__palette_dim=palette_dim,
        recipe__normalize_contrast=True,
        recipe__contrast_in_batch=True,
    )
    state, step = fresh(plan), Step(plan)
    step(state, a_batch(), plan.phase(0))
    batches = noisy_batches(200)
    settle_statistics(state, batches, 0)
    open_palette(state, batches, 0)
    return plan, state, step


@pytest.mark.parametrize(("palette_dim", "learns"), [(2, "palette_head"), (0, "style_head")])
def test_where_the_domains_are_frozen_one_head_of_the_style_code_learns(palette_dim: int, learns: str) -> None:
    plan, state, step = frozen(palette_dim)
    for E in (state.E, state.E_ema):
        before = {name: value.clone() for name, value in E.state_dict().items()}
        step(state, a_batch(), plan.phase(1))
        changed = {name.split(".")[0] for name, value in E.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {learns}
    assert not state.E.training


def test_a_frozen_trunk_encodes_each_picture_once_and_changes_no_number() -> None:
    plan, state, step = frozen()
    batch, seen = a_batch(), []
    state.E.eval()
    with torch.no_grad():
        query, key = (F.normalize(E(x).style) for E, x in ((state.E, batch.x), (state.E_ema, batch.x_plus)))
    contrast = losses.info_nce(query, key, state.keys.rows, temperature=0.07, in_batch=True)
    for E in (state.E, state.E_ema):
        E.trunk[0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    terms = step(state, batch, plan.phase(1))
    assert seen == [2 * COUNT, COUNT]  # x with x+, and the translations
    assert terms["style_contrast"].item() == pytest.approx(contrast.item(), rel=1e-9)
    torch.testing.assert_close(state.keys.rows[-COUNT:], key, rtol=1e-9, atol=1e-12)


def test_the_published_step_repeats_no_network() -> None:
    plan = tiny(training__joint_start=0)
    state, seen = fresh(plan), dict.fromkeys(("E", "E_ema", "encoder", "decoder"), 0)
    parts = (state.E.trunk[0], state.E_ema.trunk[0], state.G.encoder, state.G.decoder)
    for name, part in zip(seen, parts, strict=True):

        def count(*_: object, name: str = name) -> None:
            seen[name] += 1

        part.register_forward_hook(count)
    Step(plan)(state, a_batch(), plan.phase(0))
    assert seen == {"E": 4, "E_ema": 2, "encoder": 1, "decoder": 1}


def test_the_palette_waits_for_the_joint_phase() -> None:
    plan = tiny(model__palette_dim=3, training__joint_start=1)
    state = fresh(plan)
    step = Step(plan)
    step(state, a_batch(), plan.phase(0))
    heads = [E.palette_head.weight for E in (state.E, state.E_ema) if E.palette_head is not None]
    assert all(not head.any() for head in heads)
    batches = noisy_batches(200)
    open_palette(state, batches, seed=3)
    assert torch.equal(*heads)
    before = heads[0].detach().clone()
    open_palette(state, batches, seed=4)
    assert torch.equal(heads[0], before)  # what is open stays
    step(state, a_batch(), plan.phase(1))
    assert not torch.equal(heads[0], before)


def test_before_the_joint_phase_an_open_palette_has_no_influence() -> None:
    plan = tiny(model__palette_dim=3, training__joint_start=1)
    states = [fresh(plan), fresh(plan)]
    open_palette(states[1], noisy_batches(200), seed=0)
    terms = [Step(plan)(state, a_batch(), plan.phase(0)) for state in states]
    assert terms[0] == terms[1]
    for one, other in zip(states[0].E.trunk.parameters(), states[1].E.trunk.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not states[1].keys.rows[:, -3:].any()


def test_the_cycle_trains_g_alone_from_a_detached_translation() -> None:
    plain, cycle = tiny(), tiny(training__cycle_weight=5.0)
    states = [fresh(plain), fresh(cycle)]
    teaches: list[bool] = []
    states[1].G.encoder.register_forward_pre_hook(lambda _, pictures: teaches.append(pictures[0].requires_grad))
    terms = [Step(p)(s, a_batch(), p.phase(0)) for p, s in zip((plain, cycle), states, strict=True)]
    assert teaches == [False, False]  # the sources, and the translations as they are
    assert "cycle" not in terms[0]
    assert terms[1]["cycle"] > 0
    for name in ("d_real", "d_fake", "r1", "reconstruction", "g_translation"):
        torch.testing.assert_close(terms[0][name], terms[1][name], rtol=1e-12, atol=1e-12)
    assert same(states[0].D, parameters(states[1].D))
    assert not same(states[0].G, parameters(states[1].G))


def test_the_guiding_phase_leaves_the_others_alone() -> None:
    plan = tiny(training__joint_start=5)
    state = fresh(plan)
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    Step(plan)(state, a_batch(), plan.phase(0))
    changed = {name for name, values in before.items() if not same(getattr(state, name), values)}
    assert changed == {"E", "E_ema"}
    assert {int(values["step"]) for values in state.opt_E.state.values()} == {1}
    assert (state.step, state.E.training, state.E_ema.training) == (1, True, True)


def test_the_guiding_network_steps_twice_in_the_joint_phase() -> None:
    plan = tiny()
    state = fresh(plan)
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    Step(plan)(state, a_batch(), plan.phase(0))
    assert not any(same(getattr(state, name), values) for name, values in before.items())
    steps = {name: int(state.opt_E.state[p]["step"]) for name, p in state.E.named_parameters()}
    assert {steps.pop(f"domain_head.{name}") for name in ("weight", "bias")} == {1}  # no loss of G's reads the logits
    assert set(steps.values()) == {2}
    assert {int(values["step"]) for values in state.opt_G.state.values()} == {1}
    assert {int(values["step"]) for values in state.opt_D.state.values()} == {1}


@pytest.mark.parametrize(
    ("joint_start", "step", "moves"),
    [(1, 0, True), (1, 1, False), (0, 0, True)],  # E alone; with G after that; with G from the first step
)
def test_the_guiding_network_slows_down_after_a_phase_of_its_own(joint_start: int, step: int, moves: bool) -> None:
    plan = tiny(
        training__joint_start=joint_start,
        training__joint_guiding_learning_rate=0.0,
        training__guiding_learning_rate=1e-3,
    )
    state = fresh(plan)
    before = parameters(state.E)
    Step(plan)(state, a_batch(), plan.phase(step))
    assert same(state.E, before) is not moves


def test_patches_are_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    still = {"training__guiding_learning_rate": 0.0}
    patched, plain = tiny(training__patch_weight=3.0, **still), tiny(**still)
    batch, seen = a_batch(), []
    original = losses.patch_difference

    def spied(drawn: Tensor, references: Tensor) -> Tensor:
        seen.append((drawn, references))
        return original(drawn, references)

    monkeypatch.setattr(losses, "patch_difference", spied)
    states = [fresh(patched), fresh(plain)]
    for state, of in zip(states, (patched, plain), strict=True):
        terms = Step(of)(state, batch, of.phase(0))
        assert ("patches" in terms) == (of is patched)
    ((drawn, references),) = seen
    assert torch.equal(references, batch.x[batch.permutation])
    before = fresh(patched)
    style = before.E(batch.x).style[batch.permutation]
    torch.testing.assert_close(drawn, before.G.decode(before.G.encode(batch.x_content), style), rtol=1e-9, atol=1e-9)
    assert not same(states[0].G, parameters(states[1].G))


def test_losses_on_translations_may_train_g_alone() -> None:
    weights = {"training__translation_domain_weight": 1.0, "training__guiding_learning_rate": 1.0}
    domain_head_steps = {}
    for teach in (True, False):
        plan = tiny(recipe__translations_train_guiding=teach, **weights)
        state = fresh(plan)
        Step(plan)(state, a_batch(), plan.phase(0))
        domain_head_steps[teach] = int(state.opt_E.state[state.E.domain_head.weight]["step"])
        assert all(p.requires_grad for p in state.E.parameters())
    assert domain_head_steps == {True: 2, False: 1}


def test_the_averages_follow_the_networks() -> None:
    plan = tiny(training__average_decay=0.9)
    state = fresh(plan)
    before = {name: parameters(getattr(state, name)) for name in ("E_ema", "G_ema")}
    Step(plan)(state, a_batch(), plan.phase(0))
    for name, old in before.items():
        for average, start, now in zip(
            getattr(state, name).parameters(), old, getattr(state, name[0]).parameters(), strict=True
        ):
            torch.testing.assert_close(average, 0.9 * start + 0.1 * now.detach(), rtol=1e-10, atol=1e-12)


def test_each_loss_reaches_its_own_networks_alone() -> None:
    """How often a gradient arrives: none for D from G's loss or E's, none for G from D's. D's comes in two parts."""
    plan = tiny()
    state = fresh(plan)
    arrived: Counter[str] = Counter()
    for name in ("E", "G", "D"):
        for parameter in getattr(state, name).parameters():
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.update([name]))
    Step(plan)(state, a_batch(), plan.phase(0))
    counts = {name: len(list(getattr(state, name).parameters())) for name in ("E", "G", "D")}
    assert arrived == {"E": 2 * counts["E"] - 2, "G": counts["G"], "D": 2 * counts["D"]}  # the domain head's two: once
    assert all(p.grad is None for name in counts for p in getattr(state, name).parameters())


@pytest.mark.parametrize(("every", "index", "due"), [(1, 0, True), (4, 0, True), (4, 1, False)])
def test_d_learns_from_penalised_images_before_g_draws(
    monkeypatch: pytest.MonkeyPatch, every: int, index: int, due: bool
) -> None:
    """So that the memory of R1's double backward and that of G's graph never add up."""
    plan = tiny(training__r1_every=every)
    state, waiting = fresh(plan), []
    decode = state.G.decode

    def drawn(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        waiting.append(all(p.grad is not None for p in state.D.parameters()))
        return decode(content, style)

    monkeypatch.setattr(state.G, "decode", drawn)
    phase = dataclasses.replace(plan.phase(0), joint_steps=index)
    Step(plan)(state, a_batch(), phase)
    assert waiting == [due]


def test_in_separate_training_the_guiding_network_is_frozen_in_eval_mode() -> None:
    plan = tiny(training__schedule="separate")
    state = fresh(plan)
    before = {name: copy.deepcopy(getattr(state, name).state_dict()) for name in ("E", "E_ema")}
    generator = parameters(state.G)
    for step in range(2):
        Step(plan)(state, a_batch(), plan.phase(step))
    for name, values in before.items():
        network = getattr(state, name)
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, values[key]), key  # the batch-norm averages too
    assert not same(state.G, generator)


def test_the_terms_of_a_separate_step_are_the_papers() -> None:
    """With E frozen in eval mode, each image's part can be computed for itself, one image at a time."""
    plan = tiny(supervision="some", training__schedule="separate")
    state = fresh(plan)
    batch = a_batch(labels=[0, 2, 1, -1])
    old = copy.deepcopy(state)
    terms = Step(plan)(state, batch, plan.phase(0))

    E, G, D, updated = old.E.eval(), old.G, old.D, state.D  # G's loss reads D after its update
    pairs = list(enumerate(batch.permutation.tolist()))
    with torch.no_grad():
        told = [E(batch.x[n : n + 1]) for n in range(COUNT)]
        domains = [0, 2, 1, int(told[3].logits.argmax())]
        fakes = [G(batch.x[n : n + 1], told[m].style) for n, m in pairs]
        reconstruction = [G(batch.x[n : n + 1], told[n].style) for n in range(COUNT)]
        keys = torch.cat([E(batch.x_plus[n : n + 1]).style for n in range(COUNT)])
        codes = torch.cat([E(fake).style for fake in fakes])
        references = torch.cat([told[m].style for _, m in pairs])
        expected = {
            "d_real": np.mean([max(0, 1 - D(batch.x[n : n + 1])[0, domains[n]].item()) for n in range(COUNT)]),
            "d_fake": np.mean([max(0, 1 + D(fakes[n])[0, domains[m]].item()) for n, m in pairs]),
            "g_translation": -np.mean([updated(fakes[n])[0, domains[m]].item() for n, m in pairs]),
            "g_reconstruction": -np.mean([updated(reconstruction[n])[0, domains[n]].item() for n in range(COUNT)]),
            "reconstruction": (torch.cat(reconstruction) - batch.x).abs().mean().item(),
            "translation_style": losses.info_nce(codes, references, keys, temperature=0.07).item(),
        }
    slopes = 0.0
    for n in range(COUNT):
        x = batch.x[n : n + 1].clone().requires_grad_()
        D(x)[0, domains[n]].backward()
        assert x.grad is not None
        slopes += x.grad.square().sum().item() / COUNT
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected | {"r1": slopes}, rel=1e-8)


def heads_moved(state: State, plan: Plan, batch: Batch) -> set[int]:
    """The domains whose output of D a step has changed."""
    before = state.D.heads.weight.detach().clone()
    Step(plan)(state, batch, plan.phase(0))
    return set((state.D.heads.weight.detach() != before).flatten(1).any(dim=1).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [2, 2, 2, 2], [0, 1, 1, 0]])
def test_labels_choose_the_discriminators_heads(labels: list[int]) -> None:
    plan = tiny(supervision="all", training__weight_decay=0.0)
    assert heads_moved(fresh(plan), plan, a_batch(labels)) == set(labels)


@pytest.mark.parametrize(("pseudo_labels", "head"), [("online", 1), ("momentum", 2)])
def test_pseudo_labels_choose_them_without_labels(pseudo_labels: str, head: int) -> None:
    plan = tiny(training__weight_decay=0.0, recipe__pseudo_labels=pseudo_labels)
    state = fresh(plan)
    with torch.no_grad():
        state.E.domain_head.bias[1] = 1000
        state.E_ema.domain_head.bias[2] = 1000
    assert heads_moved(state, plan, a_batch()) == {head}


def test_the_queues_take_the_momentum_copys_keys() -> None:
    plan = tiny(training__joint_start=5, recipe__normalize_contrast=True)
    state, batch = fresh(plan), a_batch()
    with torch.no_grad():
        keys = copy.deepcopy(state.E_ema).train()(batch.x_plus)
    Step(plan)(state, batch, plan.phase(0))
    codes = keys.style / keys.style.norm(dim=1, keepdim=True)
    torch.testing.assert_close(state.keys.rows, torch.cat([codes, codes]), rtol=1e-9, atol=1e-12)  # first its own
    torch.testing.assert_close(state.logits.rows, keys.logits, rtol=1e-9, atol=1e-12)
    Step(plan)(state, a_batch(seed=1), plan.phase(1))
    assert (len(state.keys.rows), len(state.logits.rows)) == (3 * COUNT, 2 * COUNT)


@pytest.mark.parametrize("r1_every", [1, 2])
def test_mismatched_pictures_are_read_at_a_domain_that_is_not_theirs(r1_every: int) -> None:
    plan = tiny(supervision="all", recipe__mismatched_fakes=True, training__r1_every=r1_every)
    state, step = fresh(plan), Step(plan)
    labels = [0, 0, 1, 2]  # the permutation gives the second its own domain
    batch, before = a_batch(labels), copy.deepcopy(state.D)
    terms = step(state, batch, plan.phase(1))
    with torch.no_grad():
        judged = before(batch.x)
    wrong = [
        r if r != own else (own + 1) % DOMAINS for own, r in zip(labels, [labels[i] for i in (2, 0, 3, 1)], strict=True)
    ]
    expected = F.relu(1 + judged[range(COUNT), wrong]).mean()
    assert terms["d_mismatched"].item() == pytest.approx(expected.item(), rel=1e-9)
    assert all(a != b for a, b in zip(wrong, labels, strict=True))


def test_the_gradient_penalty_may_be_lazy() -> None:
    plan = tiny(training__r1_every=3)
    state, step = fresh(plan), Step(plan)
    told = ["r1" in step(state, a_batch(), plan.phase(number)) for number in range(5)]
    assert told == [True, False, False, True, False]


PLACES: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]


@pytest.fixture
def _tf32() -> Iterator[None]:
    """Allowed."""
    before = [place.fp32_precision for place in PLACES]
    for place in PLACES:
        place.fp32_precision = "tf32"
    yield
    for place, precision in zip(PLACES, before, strict=True):
        place.fp32_precision = precision


@pytest.mark.usefixtures("_tf32")
def test_the_gradient_penalty_is_true_float32_where_the_rest_may_be_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU alone multiplies as these say; that they are off within, forward and backward, is seen on any machine."""
    seen: list[str] = []
    penalty, backward = losses.r1_penalty, torch.autograd.backward

    def look() -> None:
        seen.extend(place.fp32_precision for place in PLACES)

    def spied(*given: Tensor) -> Tensor:
        look()
        return penalty(*given)

    def passed_back(total: Tensor, *, inputs: list[Tensor]) -> None:
        look()
        backward(total, inputs=inputs)

    monkeypatch.setattr(losses, "r1_penalty", spied)
    monkeypatch.setattr(torch.autograd, "backward", passed_back)
    plan = tiny()
    state, step = fresh(plan), Step(plan)
    domains = torch.zeros(COUNT, dtype=torch.int64)
    step._penalised(state, a_batch(), domains, domains)
    assert seen == ["ieee"] * 4
    assert [place.fp32_precision for place in PLACES] == ["tf32"] * 2


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_losses_are_float32_in_a_half_precision_step(preset: str) -> None:
    plan = tiny(preset)
    state, batch = new_state(plan, CPU), a_batch()
    names = ("x", "x_plus", "x_domain", "x_content")
    batch = dataclasses.replace(
        batch,
        **{name: getattr(batch, name).float() for name in names},
        translation_numbers=views.Numbers(*(numbers.float() for numbers in batch.translation_numbers)),
    )
    terms = Step(plan, half=True)(state, batch, plan.phase(0))
    assert {value.dtype for value in terms.values()} == {torch.float32}
    assert all(torch.isfinite(value) for value in terms.values())
    assert {p.dtype for p in state.G.parameters()} == {torch.float32}


def test_a_spoilt_generator_stops_the_run_before_its_update() -> None:
    plan = tiny()
    state = fresh(plan)
    with torch.no_grad():
        state.G.decoder.out.weight[0] = float("nan")
    before = {name: parameters(getattr(state, name)) for name in ("D", "G_ema", "E_ema")}
    with pytest.raises(NotFiniteError, match=r"the loss of D is not finite at step 0 \(.*d_fake nan"):
        Step(plan)(state, a_batch(), plan.phase(0))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert all(p.grad is None for p in state.D.parameters())
    assert not state.opt_D.state
    assert not state.opt_G.state
    assert state.step == 0


def test_a_spoilt_discriminator_stops_the_run() -> None:
    plan = tiny()
    state = fresh(plan)
    with torch.no_grad():
        state.D.stem.weight[0] = float("inf")
    before = {name: parameters(getattr(state, name)) for name in ("D", "G")}
    with pytest.raises(NotFiniteError, match="the loss of D is not finite"):
        Step(plan)(state, a_batch(), plan.phase(0))
    assert all(same(getattr(state, name), values) for name, values in before.items())


def test_a_loss_of_the_generator_that_is_not_finite_stops_the_run_before_its_update() -> None:
    plan = tiny(training__reconstruction_weight=1e308)
    state, batch = fresh(plan), a_batch()
    batch.x[0, 0, 0, 0] = 1e10  # finite, but not times the weight
    before = {name: parameters(getattr(state, name)) for name in ("G", "G_ema")}
    with pytest.raises(NotFiniteError, match="the loss of G is not finite"):
        Step(plan)(state, batch, plan.phase(0))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert state.opt_D.state  # it came that far
    assert not state.opt_G.state


def test_a_spoilt_image_stops_the_run_before_the_guiding_networks_update() -> None:
    plan = tiny()
    state, batch = fresh(plan), a_batch()
    batch.x[1, 0, 0, 0] = float("nan")
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "D")}
    with pytest.raises(NotFiniteError, match="the loss of E is not finite at step 0"):
        Step(plan)(state, batch, plan.phase(0))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert not state.opt_E.state
