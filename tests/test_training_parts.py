"""The parts of training: queue, averages, schedule, prototypes, objectives, and what one step does to whom."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit import losses
from open_tunit.config import Config, Training, Views
from open_tunit.data import views
from open_tunit.data.batches import Batch, Batches
from open_tunit.device import use_half
from open_tunit.networks.guiding import Guidance
from open_tunit.training import objectives
from open_tunit.training.clustering import linear_heads
from open_tunit.training.schedule import Phase, batch_at, joint_start, phase_at, prototypes_step
from open_tunit.training.state import Queue, State, copy_buffers, decay_at, new_state, update_average
from open_tunit.training.step import NotFiniteError, Step
from open_tunit.training.transitions import (
    begin_prototypes,
    measure_statistics,
    open_palette,
    preferred,
    settle_prototypes,
    settle_statistics,
)

DOMAINS, COUNT = 3, 4
TINY = {
    "model.style_dim": 6, "model.palette_dim": 0, "model.guiding_width": 4, "model.guiding_depths": [1, 1, 1, 1, 1],
    "model.generator_width": 4, "model.generator_blocks": 1, "model.style_mlp_width": 8,
    "model.discriminator_width": 4, "model.discriminator_max_width": 8, "training.joint_start": 0,
    "training.batch": COUNT,
}  # fmt: skip
CPU = torch.device("cpu")


def tiny(preset: str = "paper", **changes: Any) -> Config:
    """A paper run that is joint from its first step; changes with __ for the dot."""
    overrides = TINY | {name.replace("__", "."): value for name, value in changes.items()}
    return Config.preset(preset, data="photos", out="run", size=32, domains=DOMAINS, overrides=overrides)


def fresh(config: Config) -> State:
    """A state in float64, with heads bold enough to matter."""
    state = new_state(config, CPU, torch.float64)
    with torch.no_grad():
        for E in (state.E, state.E_ema):
            E.domain_head.weight.mul_(100)
            E.style_head.weight.mul_(100)
    return state


def places_without_label(labels: list[int]) -> Tensor:
    return torch.tensor([place for place, label in enumerate(labels) if label < 0], dtype=torch.int64)


def a_batch(labels: list[int] | None = None, seed: int = 0) -> Batch:
    x, x_plus = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (2, COUNT, 3, 32, 32)))
    return Batch(
        x=x,
        x_plus=x_plus,
        x_domain=x_plus,
        x_content=x,
        translation_draws=views.draw(np.random.default_rng(0), len(x)),
        labels=torch.tensor(labels or [-1] * COUNT),
        unlabelled=places_without_label(labels or [-1] * COUNT),
        permutation=torch.tensor([2, 0, 3, 1]),
    )


def parameters(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(network: nn.Module, before: list[Tensor]) -> bool:
    return all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))


# --- the queue


def test_a_queue_grows_and_then_drops_the_oldest() -> None:
    queue = Queue(5, torch.empty(0, 1))
    told = []
    for start in (0, 3, 6):
        queue.push(torch.arange(start, start + 3.0)[:, None])
        told.append(queue.rows[:, 0].tolist())
    assert told == [[0, 1, 2], [1, 2, 3, 4, 5], [4, 5, 6, 7, 8]]


def test_a_queue_keeps_the_newest_of_more_than_it_holds() -> None:
    queue = Queue(2, torch.arange(4.0)[:, None])
    assert queue.rows[:, 0].tolist() == [2, 3]
    queue.push(torch.arange(10.0, 15.0)[:, None])
    assert queue.rows[:, 0].tolist() == [13, 14]


def test_a_queue_holds_copies_without_gradients() -> None:
    rows = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    queue = Queue(4, torch.empty(0, 3))
    queue.push(2 * rows)
    assert not queue.rows.requires_grad
    assert queue.rows.dtype == torch.float32
    source = torch.zeros(2, 3)
    kept = Queue(4, source)
    source += 1
    assert not kept.rows.any()


# --- averages


def test_an_average_is_of_parameters_alone() -> None:
    network, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    nn.init.constant_(average.weight, 4)
    for weight in (first, second):
        network.weight.data = weight
        network.running_mean = weight + 10
        update_average(average, network, decay=0.9)
    expected = 0.9 * (0.9 * 4 + 0.1 * first) + 0.1 * second
    torch.testing.assert_close(average.weight.data, expected)
    assert average.running_mean is not None
    assert not average.running_mean.any()
    copy_buffers(average, network)
    assert average.running_mean.tolist() == [13, 9]
    torch.testing.assert_close(average.weight.data, expected)
    average.running_mean += 1
    assert network.running_mean is not None
    assert network.running_mean.tolist() == [13, 9]


def test_the_decay_warms_up() -> None:
    told = [decay_at(step, decay=0.999, warmup=True) for step in (0, 1, 8, 90, 100_000)]
    assert told == pytest.approx([1 / 10, 2 / 11, 9 / 18, 91 / 100, 0.999])
    assert decay_at(0, decay=0.999, warmup=False) == 0.999


# --- the schedule


def phases(training: Training, supervision: Any, steps: list[int]) -> list[Phase]:
    return [phase_at(step, training, supervision) for step in steps]


def test_without_labels_the_guiding_network_learns_alone_for_65000_of_200000_steps() -> None:
    alone, last, first, end = phases(Training(), "none", [0, 64_999, 65_000, 199_999])
    for phase in (alone, last):
        assert (phase.name, phase.train_guiding, phase.train_generator) == ("guiding", True, False)
        assert (phase.guiding_weight, phase.labelled_only) == (1.0, False)
    for phase in (first, end):
        assert (phase.name, phase.train_guiding, phase.train_generator) == ("joint", True, True)
        assert phase.guiding_weight == 0.1
    assert (first.generator_steps, end.generator_steps) == (0, 134_999)


def test_separate_training_freezes_the_guiding_network_after_its_phase() -> None:
    before, after = phases(Training(schedule="separate", steps=100, joint_start=40), "none", [39, 40])
    assert (before.name, before.train_guiding, before.train_generator) == ("guiding", True, False)
    assert (after.name, after.train_guiding, after.train_generator) == ("separate", False, True)


@pytest.mark.parametrize("schedule", ["joint", "separate"])
def test_with_all_labels_all_networks_learn_at_once(schedule: Any) -> None:
    (phase,) = phases(Training(schedule=schedule, joint_start=40), "all", [0])
    assert (phase.name, phase.train_generator, phase.labelled_only) == (schedule, True, False)


def test_with_some_labels_the_first_20000_steps_are_labelled_and_35000_alone() -> None:
    told = phases(Training(), "some", [0, 19_999, 20_000, 34_999, 35_000])
    assert [phase.labelled_only for phase in told] == [True, True, False, False, False]
    assert [phase.name for phase in told] == ["guiding"] * 4 + ["joint"]


def test_the_joint_phase_starts_where_it_is_said_or_at_its_share() -> None:
    assert joint_start(Training(steps=1000, guiding_share=0.2), "none") == 200
    assert joint_start(Training(steps=1000, joint_start=7), "none") == 7
    assert joint_start(Training(steps=1000, joint_start=7), "some") == 7
    assert joint_start(Training(steps=1000), "some") == 500  # a short run still has a joint phase


def test_domains_are_sought_once_prototypes_begin() -> None:
    training = Training(steps=1000, joint_start=400, prototypes_start=0.75)
    assert prototypes_step(training, "none") == 300
    told = phases(training, "none", [0, 299, 300, 399, 400])
    assert [phase.seek_domains for phase in told] == [False, False, True, True, True]
    assert all(phase.seek_domains for phase in phases(Training(), "none", [0, 100]))


def test_the_guiding_phase_may_have_its_own_batch() -> None:
    training = Training(steps=10, joint_start=5, batch=8, guiding_batch=64)
    assert [batch_at(phase, training) for phase in phases(training, "none", [4, 5])] == [64, 8]
    assert batch_at(phase_at(0, Training(batch=8), "none"), Training(batch=8)) == 8


# --- prototypes


def patterned(count: int) -> tuple[Batches, np.ndarray]:
    """Noisy pictures of as many patterns as there are domains, and the pattern of each."""
    random = np.random.default_rng(0)
    kinds = np.arange(count) % DOMAINS
    row, column = np.mgrid[:32, :32]
    patterns = np.stack([(row + column) % 4 < 2, (row // 8 + column // 8) % 2 < 1, row < 32])  # fine, coarse, plain
    pixels = (random.integers(0, 40, (count, 32, 32, 3)) + 200 * patterns[kinds][..., None]).astype(np.uint8)
    unknown, everything = np.full(count, -1), np.arange(count)
    return Batches(pixels, unknown, everything, seed=0, view=Views(), device=CPU, dtype=torch.float64), kinds


def test_prototypes_begin_at_the_clusters_that_survive_a_change_of_views() -> None:
    config = tiny(model__projection_dim=6)
    batches, kinds = patterned(60)
    state = fresh(config)
    with torch.no_grad():
        state.E.style_head.bias.add_(1)  # told apart from its average
    state.logits.push(torch.zeros(5, DOMAINS))
    begin_prototypes(state, batches, config)
    assert len(state.logits.rows) == 0
    assert torch.equal(state.E.domain_head.weight, state.E_ema.domain_head.weight)
    with torch.no_grad():
        logits = state.E_ema(batches.pictures(np.arange(60))).logits
    found = logits.argmax(dim=1).numpy()
    assert len({(a, b) for a, b in zip(kinds, found, strict=True)}) == DOMAINS
    assert logits.softmax(dim=1).amax(dim=1).median() > 0.9


@pytest.mark.parametrize("codes", [0, 6])
def test_settled_prototypes_follow_their_neighbours(codes: int) -> None:
    config = tiny(model__projection_dim=codes)
    batches, kinds = patterned(90)
    state = fresh(config)
    measure_statistics(state.E_ema, batches, 0)
    with torch.no_grad():  # heads that tell the kinds, but for every tenth image
        features = state.E_ema.features(batches.pictures(np.arange(90)))[0]
        wrong = np.where(np.arange(90) % 10 == 0, (kinds + 1) % DOMAINS, kinds)
        weight, bias = linear_heads(features[None], torch.from_numpy(wrong), DOMAINS)
        state.E_ema.domain_head.weight.copy_(weight)
        state.E_ema.domain_head.bias.copy_(bias)
        before = state.E_ema.domain_head(features).argmax(dim=1).numpy()
    settle_prototypes(state, batches, config)
    assert torch.equal(state.E.domain_head.weight, state.E_ema.domain_head.weight)
    after = state.E_ema.domain_head(features).argmax(dim=1).numpy()
    assert (before != kinds).any()
    assert (after == kinds).all()


# --- measured statistics


def noisy_batches(count: int) -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    indices = np.arange(count)
    return Batches(pixels, np.full(count, -1), indices, seed=0, view=Views(), device=CPU, dtype=torch.float64)


def test_neighbours_choose_between_two_answers_and_doubt_favours_the_informative() -> None:
    crowd = torch.arange(100).reshape(2, 50)  # two crowds, each everyone's neighbours
    nearest = crowd.repeat_interleave(50, dim=0)
    right, wrong = torch.arange(100) // 50, torch.arange(100) % 2
    nearly = right.clone()
    nearly[0] = 1
    assert preferred(nearest, wrong, right) is right
    assert preferred(nearest, right, wrong) is right
    assert preferred(nearest, nearly, right) is right  # one of fifty is .04 of the agreement
    nearest = (
        torch.cat([crowd] * 8).repeat_interleave(50, dim=0) + 100 * torch.arange(8).repeat_interleave(100)[:, None]
    )
    many, almost = (torch.cat([x] + [right] * 7) for x in (right, nearly))
    assert preferred(nearest, almost, many) is almost  # one of four hundred is less than a hundredth


def test_measured_statistics_are_those_of_the_training_images() -> None:
    batches, E = noisy_batches(60), fresh(tiny()).E
    conv, norm = E.trunk[0], E.trunk[1]
    assert isinstance(norm, nn.BatchNorm2d)
    before = parameters(E)
    with torch.no_grad():
        seen = conv(batches.pictures(np.arange(60)))
    measure_statistics(E, batches, 0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(norm.running_var, seen.var(dim=(0, 2, 3)), rtol=1e-9, atol=1e-12)
    assert norm.momentum == 0.1
    assert not E.training
    assert same(E, before)


def test_statistics_settle_with_the_guiding_network_at_its_average() -> None:
    state = fresh(tiny())
    with torch.no_grad():
        for p in state.E.parameters():
            p.add_(1)
    average = parameters(state.E_ema)
    settle_statistics(state, noisy_batches(200), 0)
    assert same(state.E_ema, average)
    for (name, value), other in zip(state.E.state_dict().items(), state.E_ema.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def held(palette_dim: int = 2) -> tuple[Config, State, Step]:
    """A run at its first joint step, whose domains are held."""
    config = tiny(
        training__hold_domains=True,
        training__joint_start=1,
        model__palette_dim=palette_dim,
        model__normalize_contrast=True,
        training__contrast_in_batch=True,
    )
    state, step = fresh(config), Step(config)
    step(state, a_batch(), phase_at(0, config.training, "none"))
    batches = noisy_batches(200)
    settle_statistics(state, batches, 0)
    open_palette(state, batches, 0)
    return config, state, step


@pytest.mark.parametrize(("palette_dim", "learns"), [(2, "palette_head"), (0, "style_head")])
def test_where_the_domains_are_held_one_head_of_the_style_code_learns(palette_dim: int, learns: str) -> None:
    config, state, step = held(palette_dim)
    for E in (state.E, state.E_ema):
        before = {name: value.clone() for name, value in E.state_dict().items()}
        step(state, a_batch(), phase_at(1, config.training, "none"))
        changed = {name.split(".")[0] for name, value in E.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {learns}
    assert not state.E.training


def test_a_held_trunk_sees_each_picture_once_and_changes_no_number() -> None:
    config, state, step = held()
    batch, seen = a_batch(), []
    state.E.eval()
    with torch.no_grad():
        query, key = (F.normalize(E(x).style) for E, x in ((state.E, batch.x), (state.E_ema, batch.x_plus)))
    contrast = losses.info_nce(query, key, state.keys.rows, temperature=0.07, in_batch=True)
    for E in (state.E, state.E_ema):
        E.trunk[0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    terms = step(state, batch, phase_at(1, config.training, "none"))
    assert seen == [2 * COUNT, COUNT]  # x with x+, and the translations
    assert terms["style_contrast"].item() == pytest.approx(contrast.item(), rel=1e-9)
    torch.testing.assert_close(state.keys.rows[-COUNT:], key, rtol=1e-9, atol=1e-12)


def test_the_published_step_repeats_no_network() -> None:
    config = tiny(training__joint_start=0)
    state, seen = fresh(config), dict.fromkeys(("E", "E_ema", "encoder", "decoder"), 0)
    parts = (state.E.trunk[0], state.E_ema.trunk[0], state.G.encoder, state.G.decoder)
    for name, part in zip(seen, parts, strict=True):

        def count(*_: object, name: str = name) -> None:
            seen[name] += 1

        part.register_forward_hook(count)
    Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    assert seen == {"E": 4, "E_ema": 2, "encoder": 1, "decoder": 1}


def test_a_run_that_is_joint_from_step_0_has_no_domains_to_hold() -> None:
    training = tiny(training__hold_domains=True, training__joint_start=0).training
    assert not phase_at(0, training, "none").hold_domains
    assert not phase_at(0, training, "all").hold_domains


# --- objectives


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
    found = objectives.guiding(inputs, tiny(), supervision="none", weight=0.1)
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
    found = objectives.guiding(inputs, tiny(training__label_weight=3.0), supervision="some", weight=1.0)
    assert found.total.item() == pytest.approx((contrast + 5 * information + 3 * entropy).item(), rel=1e-12)


def test_with_all_labels_there_is_no_mutual_information() -> None:
    inputs = guidances([0, 1, 2, 0])
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    found = objectives.guiding(inputs, tiny(), supervision="all", weight=0.1)
    assert found.total.item() == pytest.approx(0.1 * contrast.item(), rel=1e-12)
    with_labels = objectives.guiding(inputs, tiny(training__supervised_label_weight=2.0), supervision="all", weight=1.0)
    assert set(with_labels.terms) == {"style_contrast", "labels"}


def test_before_domains_are_sought_the_style_contrast_is_weighed_down() -> None:
    config = tiny(training__style_weight=0.2, training__shape_weight=2.0, model__projection_dim=5)
    inputs = guidances([-1] * 5)
    contrast = losses.info_nce(inputs.view.style, inputs.key.style, inputs.negatives, temperature=0.07)
    shape = losses.nt_xent(inputs.view.shape, inputs.view_domain.shape, temperature=config.training.shape_temperature)
    found = objectives.guiding(inputs, config, supervision="none", weight=1.0, seek_domains=False)
    assert found.total.item() == pytest.approx((0.2 * contrast + 2 * shape).item(), rel=1e-12)
    information = losses.mutual_information(inputs.view.logits, inputs.view_domain.logits)
    found = objectives.guiding(inputs, config, supervision="none", weight=1.0)
    assert found.total.item() == pytest.approx((contrast + 2 * shape + 5 * information).item(), rel=1e-12)


def test_balanced_prototypes_predict_each_others_standardised_assignment() -> None:
    config = tiny(training__domain_objective="balanced_prototypes", training__domain_weight=1.0)
    inputs = guidances([-1] * 5, momentum=9)
    targets = []
    for guidance in (inputs.momentum, inputs.key):
        scores = torch.cat([guidance.logits, inputs.recent_logits]).numpy()
        plan = np.exp((scores - scores.mean(axis=0)) / scores.std(axis=0, ddof=1) / config.training.sinkhorn_epsilon)
        for _ in range(3):
            plan = plan / plan.sum(axis=0)
            plan = plan / plan.sum(axis=1, keepdims=True)
        targets.append(torch.from_numpy(plan[:5]))
    log_p, log_p_plus = inputs.view.logits.log_softmax(dim=1), inputs.view_domain.logits.log_softmax(dim=1)
    expected = -((targets[1] * log_p).sum() + (targets[0] * log_p_plus).sum()) / 10
    found = objectives.guiding(inputs, config, supervision="none", weight=1.0).terms["prototypes"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("free", [0, 1])
@pytest.mark.parametrize("objective", ["mutual_information", "balanced_prototypes"])
def test_a_batch_with_hardly_any_unlabelled_image_gives_a_finite_loss(objective: str, free: int) -> None:
    inputs = guidances([-1] * free + [0, 1, 2])
    found = objectives.guiding(inputs, tiny(training__domain_objective=objective), supervision="some", weight=1.0)
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
    strict = tiny(training__mismatched=True)
    wrong = objectives.discriminator_real(real, torch.tensor([0.0, -3.0]), None, strict)
    assert wrong.total.item() == pytest.approx(0.25 + 0.5 / 2)
    assert wrong.terms["d_mismatched"].item() == pytest.approx(0.5)
    assert objectives.discriminator_fake(fake, strict).total.item() == pytest.approx(1.25 / 2)
    x, redrawn = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5)
    codes = guidances([-1, -1])
    query, key = codes.view.style, codes.key.style
    inputs = objectives.GeneratorInputs(
        x=x,
        references=x,
        translation=x,
        redrawn=redrawn,
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
    assert objectives.generator(inputs, tiny()).total.item() == pytest.approx(expected, rel=1e-6)

    more = tiny(training__cycle_weight=3.0, training__translation_domain_weight=2.0, training__adversarial_weight=0.5)
    logits = torch.tensor([[0.0, math.log(3.0), 0.0]]).repeat(len(x), 1)
    inputs = inputs._replace(cycled=x + 0.25, translation_logits=logits, reference_domains=inputs.reference_domains + 1)
    found = objectives.generator(inputs, more)
    expected += 0.5 * (0.25 + 1.25) + 3.0 * 0.25 + 2.0 * math.log(5 / 3)
    assert found.total.item() == pytest.approx(expected, rel=1e-6)
    assert {"cycle", "translation_domain"} <= set(found.terms)

    drawn = torch.full((2, 3, 32, 32), 0.25)
    inputs = inputs._replace(references=drawn - 1, translation=drawn)
    patches = objectives.generator(inputs, more, patch_weight=2.0)
    assert patches.total.item() == pytest.approx(expected + 2.0 * 1.0, rel=1e-6)
    assert patches.terms["patches"].item() == pytest.approx(1.0)


# --- one step


def test_the_palette_waits_for_the_joint_phase() -> None:
    config = tiny(model__palette_dim=3, training__joint_start=1)
    state = fresh(config)
    step = Step(config)
    step(state, a_batch(), phase_at(0, config.training, "none"))
    heads = [E.palette_head.weight for E in (state.E, state.E_ema) if E.palette_head is not None]
    assert all(not head.any() for head in heads)
    batches = noisy_batches(200)
    open_palette(state, batches, seed=3)
    assert torch.equal(*heads)
    before = heads[0].detach().clone()
    open_palette(state, batches, seed=4)
    assert torch.equal(heads[0], before)  # what is open stays
    step(state, a_batch(), phase_at(1, config.training, "none"))
    assert not torch.equal(heads[0], before)


def test_the_palette_begins_with_the_leading_directions_all_as_loud() -> None:
    config = tiny(model__palette_dim=3)
    state, batches = fresh(config), noisy_batches(200)
    open_palette(state, batches, seed=0)
    guide = state.guide()
    measure_statistics(guide, batches, 0)
    assert guide.palette_norm is not None
    with torch.no_grad():
        x = batches.pictures(batches.indices)
        colours = guide.palette_norm(guide.features(x)[1])
        palette = guide(x).style[:, -3:]
    centred = colours - colours.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    variances = singular[:3].square() / (len(x) - 1)
    expected = 0.25 * torch.diag(variances / (variances + 0.03))
    torch.testing.assert_close(torch.cov(palette.T), expected, rtol=1e-6, atol=1e-9)
    along = torch.cov(torch.cat([palette, centred @ directions[:3].T], dim=1).T)[:3, 3:].abs()
    torch.testing.assert_close(along, 0.5 * torch.diag(variances / (variances + 0.03).sqrt()), rtol=1e-6, atol=1e-9)


def test_a_palette_of_few_pictures_has_no_directions_that_they_do_not_tell() -> None:
    state = fresh(tiny(model__palette_dim=5))
    open_palette(state, noisy_batches(4), seed=0)
    assert state.E.palette_head is not None
    assert [bool(row.any()) for row in state.E.palette_head.weight] == [True, True, True, False, False]


def test_e_alone_does_not_hear_a_palette_that_is_open() -> None:
    config = tiny(model__palette_dim=3, training__joint_start=1)
    states = [fresh(config), fresh(config)]
    open_palette(states[1], noisy_batches(200), seed=0)
    terms = [Step(config)(state, a_batch(), phase_at(0, config.training, "none")) for state in states]
    assert terms[0] == terms[1]
    for one, other in zip(states[0].E.trunk.parameters(), states[1].E.trunk.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not states[1].keys.rows[:, -3:].any()


def test_the_cycle_teaches_g_alone_and_from_a_fixed_translation() -> None:
    plain, cycle = tiny(), tiny(training__cycle_weight=5.0)
    states = [fresh(plain), fresh(cycle)]
    teaches: list[bool] = []
    states[1].G.encoder.register_forward_pre_hook(lambda _, pictures: teaches.append(pictures[0].requires_grad))
    terms = [
        Step(c)(s, a_batch(), phase_at(0, c.training, "none")) for c, s in zip((plain, cycle), states, strict=True)
    ]
    assert teaches == [False, False]  # the sources, and the translations as they are
    assert "cycle" not in terms[0]
    assert terms[1]["cycle"] > 0
    for name in ("d_real", "d_fake", "r1", "reconstruction", "g_translation"):
        torch.testing.assert_close(terms[0][name], terms[1][name], rtol=1e-12, atol=1e-12)
    assert same(states[0].D, parameters(states[1].D))
    assert not same(states[0].G, parameters(states[1].G))


def test_the_guiding_phase_leaves_the_others_alone() -> None:
    config = tiny(training__joint_start=5)
    state = fresh(config)
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    changed = {name for name, values in before.items() if not same(getattr(state, name), values)}
    assert changed == {"E", "E_ema"}
    assert {int(values["step"]) for values in state.opt_E.state.values()} == {1}
    assert (state.step, state.E.training, state.E_ema.training) == (1, True, True)


def test_the_guiding_network_steps_twice_in_the_joint_phase() -> None:
    config = tiny()
    state = fresh(config)
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
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
    config = tiny(
        training__joint_start=joint_start,
        training__joint_guiding_learning_rate=0.0,
        training__guiding_learning_rate=1e-3,
        training__guiding_weight_decay=0.0,
    )
    state = fresh(config)
    before = parameters(state.E)
    Step(config)(state, a_batch(), phase_at(step, config.training, "none"))
    assert same(state.E, before) is not moves


def test_the_rate_of_e_falls_with_the_steps_of_g() -> None:
    settings = {"joint_start": 10, "guiding_learning_rate": 1e-3, "joint_guiding_learning_rate": 1e-4}
    falls = Training(**settings, joint_guiding_full_steps=5)  # type: ignore[arg-type]
    rates = [phase_at(step, falls, "none").guiding_learning_rate for step in (9, 10, 14, 15, 19, 109)]
    assert rates == [None, *(pytest.approx(1e-4 * share) for share in (1, 1, 5 / 6, 0.5, 0.05))]
    assert phase_at(109, Training(**settings), "none").guiding_learning_rate == 1e-4  # type: ignore[arg-type]
    assert phase_at(10, Training(joint_start=10), "none").guiding_learning_rate == 1e-4  # the paper's, throughout
    assert phase_at(10, dataclasses.replace(falls, joint_start=0), "none").guiding_learning_rate is None


def test_the_weight_of_patches_falls_with_the_steps_of_g() -> None:
    falls = Training(joint_start=10, patch_weight=8.0, patch_full_steps=5)
    weights = [phase_at(step, falls, "none").patch_weight for step in (9, 10, 14, 19, 109)]
    assert weights == [0, *(pytest.approx(weight) for weight in (8, 8, 4, 0.4))]
    assert phase_at(109, Training(joint_start=10, patch_weight=8.0), "none").patch_weight == 8


def test_patches_are_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    still = {"training__guiding_learning_rate": 0.0}
    config, plain = tiny(training__patch_weight=3.0, **still), tiny(**still)
    batch, seen = a_batch(), []
    original = losses.patch_difference

    def spied(drawn: Tensor, references: Tensor) -> Tensor:
        seen.append((drawn, references))
        return original(drawn, references)

    monkeypatch.setattr(losses, "patch_difference", spied)
    states = [fresh(config), fresh(plain)]
    for state, of in zip(states, (config, plain), strict=True):
        terms = Step(of)(state, batch, phase_at(0, of.training, "none"))
        assert ("patches" in terms) == (of is config)
    ((drawn, references),) = seen
    assert torch.equal(references, batch.x[batch.permutation])
    before = fresh(config)
    style = before.E(batch.x).style[batch.permutation]
    torch.testing.assert_close(drawn, before.G.decode(before.G.encode(batch.x_content), style), rtol=1e-9, atol=1e-9)
    assert not same(states[0].G, parameters(states[1].G))


def test_translations_may_teach_g_alone() -> None:
    config = tiny(training__translation_domain_weight=1.0, training__guiding_learning_rate=1.0)
    domain_head_steps = {}
    for teach in (True, False):
        state = fresh(config.replace({"training.translations_teach_guiding": teach}))
        Step(config.replace({"training.translations_teach_guiding": teach}))(
            state, a_batch(), phase_at(0, config.training, "none")
        )
        domain_head_steps[teach] = int(state.opt_E.state[state.E.domain_head.weight]["step"])
        assert all(p.requires_grad for p in state.E.parameters())
    assert domain_head_steps == {True: 2, False: 1}


def test_the_averages_follow_the_networks() -> None:
    config = tiny(training__average_decay=0.9)
    state = fresh(config)
    before = {name: parameters(getattr(state, name)) for name in ("E_ema", "G_ema")}
    Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    for name, old in before.items():
        for average, start, now in zip(
            getattr(state, name).parameters(), old, getattr(state, name[0]).parameters(), strict=True
        ):
            torch.testing.assert_close(average, 0.9 * start + 0.1 * now.detach(), rtol=1e-10, atol=1e-12)


def test_each_loss_reaches_its_own_networks_alone() -> None:
    """How often a gradient arrives: none for D from G's loss or E's, none for G from D's. D's comes in two parts."""
    config = tiny()
    state = fresh(config)
    arrived: Counter[str] = Counter()
    for name in ("E", "G", "D"):
        for parameter in getattr(state, name).parameters():
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.update([name]))
    Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    counts = {name: len(list(getattr(state, name).parameters())) for name in ("E", "G", "D")}
    assert arrived == {"E": 2 * counts["E"] - 2, "G": counts["G"], "D": 2 * counts["D"]}  # the domain head's two: once
    assert all(p.grad is None for name in counts for p in getattr(state, name).parameters())


@pytest.mark.parametrize(("every", "index", "due"), [(1, 0, True), (4, 0, True), (4, 1, False)])
def test_d_learns_from_penalised_images_before_g_draws(
    monkeypatch: pytest.MonkeyPatch, every: int, index: int, due: bool
) -> None:
    """So that the memory of R1's double backward and that of G's graph never add up."""
    config = tiny(training__r1_every=every)
    state, waiting = fresh(config), []
    decode = state.G.decode

    def drawn(content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        waiting.append(all(p.grad is not None for p in state.D.parameters()))
        return decode(content, style)

    monkeypatch.setattr(state.G, "decode", drawn)
    phase = dataclasses.replace(phase_at(0, config.training, "none"), generator_steps=index)
    Step(config)(state, a_batch(), phase)
    assert waiting == [due]


def test_in_separate_training_the_guiding_network_is_frozen_in_eval_mode() -> None:
    config = tiny(training__schedule="separate")
    state = fresh(config)
    before = {name: copy.deepcopy(getattr(state, name).state_dict()) for name in ("E", "E_ema")}
    generator = parameters(state.G)
    for step in range(2):
        Step(config)(state, a_batch(), phase_at(step, config.training, "none"))
    for name, values in before.items():
        network = getattr(state, name)
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, values[key]), key  # the batch-norm averages too
    assert not same(state.G, generator)


def test_the_terms_of_a_separate_step_are_the_papers() -> None:
    """With E frozen in eval mode, each image's part can be computed for itself, one image at a time."""
    config = tiny(training__schedule="separate")
    state = fresh(config)
    batch = a_batch(labels=[0, 2, 1, -1])
    old = copy.deepcopy(state)
    terms = Step(config, "some")(state, batch, phase_at(0, config.training, "all"))

    E, G, D, judge = old.E.eval(), old.G, old.D, state.D  # G's loss reads D after its update
    pairs = list(enumerate(batch.permutation.tolist()))
    with torch.no_grad():
        told = [E(batch.x[n : n + 1]) for n in range(COUNT)]
        domains = [0, 2, 1, int(told[3].logits.argmax())]
        fakes = [G(batch.x[n : n + 1], told[m].style) for n, m in pairs]
        redrawn = [G(batch.x[n : n + 1], told[n].style) for n in range(COUNT)]
        keys = torch.cat([E(batch.x_plus[n : n + 1]).style for n in range(COUNT)])
        codes = torch.cat([E(fake).style for fake in fakes])
        references = torch.cat([told[m].style for _, m in pairs])
        expected = {
            "d_real": np.mean([max(0, 1 - D(batch.x[n : n + 1])[0, domains[n]].item()) for n in range(COUNT)]),
            "d_fake": np.mean([max(0, 1 + D(fakes[n])[0, domains[m]].item()) for n, m in pairs]),
            "g_translation": -np.mean([judge(fakes[n])[0, domains[m]].item() for n, m in pairs]),
            "g_reconstruction": -np.mean([judge(redrawn[n])[0, domains[n]].item() for n in range(COUNT)]),
            "reconstruction": (torch.cat(redrawn) - batch.x).abs().mean().item(),
            "translation_style": losses.info_nce(codes, references, keys, temperature=0.07).item(),
        }
    slopes = 0.0
    for n in range(COUNT):
        x = batch.x[n : n + 1].clone().requires_grad_()
        D(x)[0, domains[n]].backward()
        assert x.grad is not None
        slopes += x.grad.square().sum().item() / COUNT
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected | {"r1": slopes}, rel=1e-8)


def heads_moved(state: State, config: Config, batch: Batch, supervision: Any) -> set[int]:
    """The domains whose output of D a step has changed."""
    before = state.D.heads.weight.detach().clone()
    Step(config, supervision)(state, batch, phase_at(0, config.training, supervision))
    return set((state.D.heads.weight.detach() != before).flatten(1).any(dim=1).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [2, 2, 2, 2], [0, 1, 1, 0]])
def test_labels_choose_the_discriminators_heads(labels: list[int]) -> None:
    config = tiny(training__weight_decay=0.0)
    assert heads_moved(fresh(config), config, a_batch(labels), "all") == set(labels)


@pytest.mark.parametrize(("pseudo_labels", "head"), [("online", 1), ("momentum", 2)])
def test_pseudo_labels_choose_them_without_labels(pseudo_labels: str, head: int) -> None:
    config = tiny(training__weight_decay=0.0, training__pseudo_labels=pseudo_labels)
    state = fresh(config)
    with torch.no_grad():
        state.E.domain_head.bias[1] = 1000
        state.E_ema.domain_head.bias[2] = 1000
    assert heads_moved(state, config, a_batch(), "none") == {head}


def test_the_queues_take_the_momentum_copys_keys() -> None:
    config = tiny(training__joint_start=5, model__normalize_contrast=True)
    state, batch = fresh(config), a_batch()
    with torch.no_grad():
        keys = copy.deepcopy(state.E_ema).train()(batch.x_plus)
    Step(config)(state, batch, phase_at(0, config.training, "none"))
    codes = keys.style / keys.style.norm(dim=1, keepdim=True)
    torch.testing.assert_close(state.keys.rows, torch.cat([codes, codes]), rtol=1e-9, atol=1e-12)  # first its own
    torch.testing.assert_close(state.logits.rows, keys.logits, rtol=1e-9, atol=1e-12)
    Step(config)(state, a_batch(seed=1), phase_at(1, config.training, "none"))
    assert (len(state.keys.rows), len(state.logits.rows)) == (3 * COUNT, 2 * COUNT)


@pytest.mark.parametrize("r1_every", [1, 2])
def test_mismatched_pictures_are_read_at_a_domain_that_is_not_theirs(r1_every: int) -> None:
    config = tiny(training__mismatched=True, training__r1_every=r1_every)
    state, step = fresh(config), Step(config, supervision="all")
    labels = [0, 0, 1, 2]  # the permutation gives the second its own domain
    batch, before = a_batch(labels), copy.deepcopy(state.D)
    terms = step(state, batch, phase_at(1, config.training, "all"))
    with torch.no_grad():
        judged = before(batch.x)
    wrong = [
        r if r != own else (own + 1) % DOMAINS for own, r in zip(labels, [labels[i] for i in (2, 0, 3, 1)], strict=True)
    ]
    expected = F.relu(1 + judged[range(COUNT), wrong]).mean()
    assert terms["d_mismatched"].item() == pytest.approx(expected.item(), rel=1e-9)
    assert all(a != b for a, b in zip(wrong, labels, strict=True))


def test_the_gradient_penalty_may_be_lazy() -> None:
    config = tiny(training__r1_every=3)
    state, step = fresh(config), Step(config)
    told = ["r1" in step(state, a_batch(), phase_at(number, config.training, "none")) for number in range(5)]
    assert told == [True, False, False, True, False]


def test_optimisers_are_the_published_ones() -> None:
    state = new_state(tiny(), CPU)
    for optimiser, kind, expected in (
        (state.opt_E, torch.optim.Adam, {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-3}),
        (state.opt_G, torch.optim.RMSprop, {"lr": 1e-4, "alpha": 0.99, "momentum": 0, "weight_decay": 1e-4}),
        (state.opt_D, torch.optim.RMSprop, {"lr": 1e-4, "alpha": 0.99, "momentum": 0, "weight_decay": 1e-4}),
    ):
        assert type(optimiser) is kind
        (group,) = optimiser.param_groups
        assert {name: group[name] for name in expected} == expected
        assert not group.get("decoupled_weight_decay", False)


def test_the_cpu_presets_optimisers_are_adam_with_a_rate_for_each() -> None:
    config = tiny("cpu", training__learning_rate=2e-4, training__discriminator_learning_rate=7e-4)
    state = new_state(config, CPU)
    for optimiser, rate in ((state.opt_G, 2e-4), (state.opt_D, 7e-4)):
        assert type(optimiser) is torch.optim.Adam
        (group,) = optimiser.param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.5, 0.99))


def test_a_new_state_is_a_function_of_the_seed() -> None:
    torch.manual_seed(5)
    one = new_state(tiny(), CPU)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)  # the caller's random numbers are its own
    other, third = new_state(tiny(), CPU), new_state(tiny(seed=1), CPU)
    for name in ("E", "G", "D"):
        assert same(getattr(one, name), parameters(getattr(other, name)))
        assert not same(getattr(one, name), parameters(getattr(third, name)))
    assert same(one.E_ema, parameters(one.E))
    assert same(one.G_ema, parameters(one.G))


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_losses_are_float32_in_a_half_precision_step(preset: str) -> None:
    config = tiny(preset)
    state, batch = new_state(config, CPU), a_batch()
    names = ("x", "x_plus", "x_domain", "x_content")
    batch = dataclasses.replace(batch, **{name: getattr(batch, name).float() for name in names})
    terms = Step(config, half=True)(state, batch, phase_at(0, config.training, "none"))
    assert {value.dtype for value in terms.values()} == {torch.float32}
    assert all(torch.isfinite(value) for value in terms.values())
    assert {p.dtype for p in state.G.parameters()} == {torch.float32}


# --- losses that are not finite


def test_a_spoilt_generator_stops_the_run_before_its_update() -> None:
    config = tiny()
    state = fresh(config)
    with torch.no_grad():
        state.G.decoder.out.weight[0] = float("nan")
    before = {name: parameters(getattr(state, name)) for name in ("D", "G_ema", "E_ema")}
    with pytest.raises(NotFiniteError, match=r"the loss of D is not finite at step 0 \(.*d_fake nan"):
        Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert all(p.grad is None for p in state.D.parameters())
    assert not state.opt_D.state
    assert not state.opt_G.state
    assert state.step == 0


def test_a_spoilt_discriminator_stops_the_run() -> None:
    config = tiny()
    state = fresh(config)
    with torch.no_grad():
        state.D.stem.weight[0] = float("inf")
    before = {name: parameters(getattr(state, name)) for name in ("D", "G")}
    with pytest.raises(NotFiniteError, match="the loss of D is not finite"):
        Step(config)(state, a_batch(), phase_at(0, config.training, "none"))
    assert all(same(getattr(state, name), values) for name, values in before.items())


def test_a_loss_of_the_generator_that_is_not_finite_stops_the_run_before_its_update() -> None:
    config = tiny(training__reconstruction_weight=1e308)
    state, batch = fresh(config), a_batch()
    batch.x[0, 0, 0, 0] = 1e10  # finite, but not times the weight
    before = {name: parameters(getattr(state, name)) for name in ("G", "G_ema")}
    with pytest.raises(NotFiniteError, match="the loss of G is not finite"):
        Step(config)(state, batch, phase_at(0, config.training, "none"))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert state.opt_D.state  # it came that far
    assert not state.opt_G.state


def test_a_spoilt_image_stops_the_run_before_the_guiding_networks_update() -> None:
    config = tiny()
    state, batch = fresh(config), a_batch()
    batch.x[1, 0, 0, 0] = float("nan")
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "D")}
    with pytest.raises(NotFiniteError, match="the loss of E is not finite at step 0"):
        Step(config)(state, batch, phase_at(0, config.training, "none"))
    assert all(same(getattr(state, name), values) for name, values in before.items())
    assert not state.opt_E.state


# --- precision


@pytest.mark.parametrize("multiplies", [True, False])
def test_bfloat16_that_a_gpu_emulates_is_not_taken(multiplies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: multiplies or including_emulation
    )
    assert use_half("auto", torch.device("cuda")) == multiplies
