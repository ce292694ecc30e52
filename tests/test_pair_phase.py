"""The pair phase: G on pairs found in the folder, before the adversarial loss and beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_runs import COUNT, CPU, DOMAINS, a_batch, fresh, parameters, same, tiny

from open_tunit.data.batches import Batches, PairTargets
from open_tunit.data.pairs import NONE, Pairs, PairTable
from open_tunit.training.plan import Plan
from open_tunit.training.steps import objectives
from open_tunit.training.steps.step import Step


def paired_plan(**changes: object) -> Plan:
    settings = {
        "training__joint_start": 3,
        "training__pair_steps": 4,
        "training__pair_weight": 2.0,
        "training__steps": 12,
    }
    return tiny("cpu", **settings | changes)


def table(partners: list[list[int]], weights: list[list[float]], domains: list[int]) -> PairTable:
    return PairTable(
        np.arange(len(domains)), np.array(domains), np.array(partners), np.array(weights, dtype=np.float32)
    )


def batches(plan: Plan, count: int = 6) -> Batches:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    unknown = np.full(count, -1)
    found = Batches(pixels, unknown, np.arange(count), seed=3, view=plan.views, device=CPU, dtype=torch.float64)
    partners = np.random.default_rng(1).integers(0, count, (count, DOMAINS))
    found.pairs = table(partners.tolist(), np.ones((count, DOMAINS)).tolist(), [k % DOMAINS for k in range(count)])
    return found


def test_phases_follow_one_another() -> None:
    plan = paired_plan()
    assert [plan.phase(step).name for step in (2, 3, 6, 7)] == ["guiding", "pairs", "pairs", "joint"]
    assert [plan.phase(step).generator_steps for step in (3, 7)] == [0, 4]
    assert plan.phase(7).joint_steps == 0
    assert not plan.phase(5).train_guiding
    rates = [plan.phase(step).generator_rate for step in (3, 7, 8)]
    assert rates == [1.0, 1 / 50, 2 / 50]  # warmed up again when D joins


def test_a_run_without_pairs_has_no_pair_phase() -> None:
    plan = paired_plan().without_pairs()
    assert [plan.phase(step).name for step in (2, 3, 7)] == ["guiding", "joint", "joint"]
    assert plan.cycle_weight > 0
    assert plan.phase(3).patch_weight > 0
    assert paired_plan().cycle_weight == paired_plan().phase(7).patch_weight == 0
    assert not tiny("paper", training__pair_weight=2.0).pairs


def test_with_all_labels_e_has_its_own_phase_where_pairs_follow() -> None:
    plan = dataclasses.replace(paired_plan(), supervision="all")
    assert [plan.phase(step).name for step in (0, 3, 7)] == ["guiding", "pairs", "joint"]
    assert dataclasses.replace(tiny("paper", training__joint_start=3), supervision="all").phase(0).name == "joint"


def test_the_loss_is_l1_weighed_by_similarity() -> None:
    drawn = torch.tensor([0.0, 1.0, 3.0])[:, None, None, None].expand(3, 3, 2, 2)
    pictures = torch.tensor([0.5, 0.0, 0.0])[:, None, None, None].expand(3, 3, 2, 2)
    targets = PairTargets(torch.arange(3), pictures, torch.tensor([1.0, 0.5, 0.0]))
    found = objectives.pairs(drawn, targets, 4.0)
    assert found.total.item() == pytest.approx(4 * (0.5 + 0.5) / 3)
    assert found.terms["pairs"].item() == pytest.approx((0.5 + 0.5) / 3)


def test_a_step_of_the_pair_phase_trains_g_alone() -> None:
    plan = paired_plan()
    state, source = fresh(plan), batches(plan)
    before = {name: parameters(getattr(state, name)) for name in ("E", "E_ema", "G", "G_ema", "D")}
    terms = Step(plan)(state, source.pair_batch(3, COUNT, 2), plan.phase(3))
    moved = {name for name, values in before.items() if not same(getattr(state, name), values)}
    assert moved == {"G", "G_ema"}
    assert set(terms) == {"pairs"}
    assert state.step == 1


def test_a_pair_batch_holds_two_different_domains_pairs_of_each_source() -> None:
    plan = paired_plan()
    source = batches(plan)
    batch = source.pair_batch(5, COUNT, 2)
    assert batch.targets.places.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    again = source.pair_batch(5, COUNT, 2)
    assert torch.equal(batch.targets.pictures, again.targets.pictures)
    assert source.pairs is not None
    pictures = source.pictures(np.arange(6))
    for place, picture in zip(batch.targets.places.tolist(), batch.targets.pictures, strict=True):
        chosen = source._chosen(5, COUNT, False)[place]
        partners = {int(p) for p in source.pairs.partners[chosen]}
        assert any(torch.equal(picture, pictures[p]) for p in partners)


def test_in_the_joint_phase_the_pair_is_of_the_references_domain() -> None:
    """Where that is the source's own, the pair counts nothing: both happen within these steps."""
    plan = paired_plan()
    source = batches(plan)
    assert source.pairs is not None
    counted = set()
    for step in range(8):
        batch = source.batch(step, COUNT)
        assert batch.pairs is not None
        chosen = source._chosen(step, COUNT, False)
        domains = source.pairs.domains[chosen]
        wanted = domains[batch.permutation.numpy()]
        assert batch.pairs.places.tolist() == list(range(COUNT))
        assert batch.pairs.weights.tolist() == (wanted != domains).tolist()
        counted |= set(batch.pairs.weights.tolist())
        for place, picture in zip(batch.pairs.places.tolist(), batch.pairs.pictures, strict=True):
            partner = source.pairs.partners[chosen[place], wanted[place]]
            assert torch.equal(picture, source.pictures(np.array([partner]))[0])
    assert counted == {0, 1}


def test_pairs_are_beside_the_adversarial_loss() -> None:
    plan = paired_plan(training__translation_domain_weight=0.0)
    source = batches(plan)
    states = [fresh(plan), fresh(plan)]
    batch = dataclasses.replace(a_batch(), pairs=source.batch(7, COUNT).pairs)
    with_pairs = Step(plan)(states[0], batch, plan.phase(8))
    without = Step(plan)(states[1], dataclasses.replace(batch, pairs=None), plan.phase(8))
    assert set(with_pairs) - set(without) == {"pairs"}
    assert not same(states[0].G, parameters(states[1].G))


def test_a_table_weighs_by_similarity_and_has_no_pair_in_an_empty_domain() -> None:
    pairs = Pairs(
        table=torch.tensor([[1, 2, NONE], [0, 2, NONE], [0, 1, NONE]]),
        similarity=torch.tensor([[0.9, 0.4, -1.0], [0.2, 0.5, -1.0], [0.3, 0.6, -1.0]]),
    )
    found = PairTable.of(pairs, torch.tensor([0, 0, 1]), np.array([5, 7, 9]), distrusted=0.3, trusted=0.5)
    np.testing.assert_allclose(found.weights, [[1, 0.5, 0], [0, 1, 0], [0, 1, 0]], atol=1e-6)
    assert found.confidence == pytest.approx((0.5 + 1 + 0) / 3)  # of pairs in other domains than the image's own
    positions, weights = found.look_up(np.array([7, 9]), np.array([1, 2]))
    assert positions.tolist() == [9, 9]  # no pair: the image itself, which counts nothing
    assert weights.tolist() == [pytest.approx(1), 0]
