"""The plan: phases, batches and weights by step."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from small_runs import (
    tiny,
)

from open_tunit.settings.config import Config
from open_tunit.training.plan import Plan


def planned(supervision: Any = "none", *, recipe: str = "paper", **training: Any) -> Plan:
    """A paper run with these settings of training."""
    overrides = {f"training.{name}": value for name, value in training.items()}
    return Plan.of(Config.preset("paper", data="photos", out="run", overrides=overrides), supervision)


def test_without_labels_the_guiding_network_learns_alone_for_65000_of_200000_steps() -> None:
    plan = planned()
    alone, last, first, end = (plan.phase(step) for step in (0, 64_999, 65_000, 199_999))
    for phase in (alone, last):
        assert (phase.name, phase.train_guiding, phase.train_generator) == ("guiding", True, False)
        assert (phase.guiding_weight, phase.labelled_only) == (1.0, False)
    for phase in (first, end):
        assert (phase.name, phase.train_guiding, phase.train_generator) == ("joint", True, True)
        assert phase.guiding_weight == 0.1
    assert (first.generator_steps, end.generator_steps) == (0, 134_999)


def test_separate_training_freezes_the_guiding_network_after_its_phase() -> None:
    plan = planned(schedule="separate", steps=100, joint_start=40)
    before, after = plan.phase(39), plan.phase(40)
    assert (before.name, before.train_guiding, before.train_generator) == ("guiding", True, False)
    assert (after.name, after.train_guiding, after.train_generator) == ("separate", False, True)


def test_with_all_labels_all_networks_learn_at_once() -> None:
    phase = planned("all", joint_start=40).phase(0)
    assert (phase.name, phase.train_guiding, phase.train_generator) == ("joint", True, True)
    assert not phase.labelled_only


def test_separate_training_with_all_labels_gives_the_guiding_network_its_own_phase() -> None:
    plan = planned("all", schedule="separate", steps=100, joint_start=40)
    before, after = plan.phase(39), plan.phase(40)
    assert (before.name, before.train_guiding, before.labelled_only) == ("guiding", True, False)
    assert (after.name, after.train_guiding, after.train_generator) == ("separate", False, True)


def test_with_some_labels_the_first_20000_steps_are_labelled_and_35000_alone() -> None:
    plan = planned("some")
    phases = [plan.phase(step) for step in (0, 19_999, 20_000, 34_999, 35_000)]
    assert [phase.labelled_only for phase in phases] == [True, True, False, False, False]
    assert [phase.name for phase in phases] == ["guiding"] * 4 + ["joint"]


def test_a_short_run_draws_labelled_images_alone_for_no_larger_a_share() -> None:
    assert planned("some", steps=140).labelled_only_steps == 40  # of 70, as 20,000 of 35,000


def test_the_joint_phase_starts_where_it_is_set_or_at_its_share() -> None:
    assert planned(steps=1000, guiding_share=0.2).joint_start == 200
    assert planned(steps=1000, joint_start=7).joint_start == 7
    assert planned("some", steps=1000, joint_start=7).joint_start == 7
    assert planned("some", steps=1000).joint_start == 500  # a short run still has a joint phase


def test_the_domain_objective_counts_from_its_start() -> None:
    config = Config.preset(
        "cpu", data="photos", out="run", steps=1000,
        overrides={"training.joint_start": 400, "training.prototypes_start": 0.75},
    )  # fmt: skip
    plan = Plan.of(config)
    assert plan.domains_start == 300
    assert [plan.phase(step).learn_domains for step in (0, 299, 300, 399, 400)] == [False, False, True, True, True]
    assert all(planned().phase(step).learn_domains for step in (0, 100))


def test_the_guiding_phase_may_have_its_own_batch() -> None:
    plan = planned(steps=10, joint_start=5, batch=8, guiding_batch=64)
    assert [plan.batch_size(plan.phase(step)) for step in (4, 5)] == [64, 8]
    assert planned(batch=8).batch_size(planned(batch=8).phase(0)) == 8


def test_a_run_that_is_joint_from_step_0_has_no_domains_to_freeze() -> None:
    plan = tiny(recipe__freeze_domains=True, training__joint_start=0)
    assert not plan.phase(0).freeze_domains
    assert not dataclasses.replace(plan, supervision="all").phase(0).freeze_domains


def test_the_rate_of_e_falls_with_the_steps_of_g() -> None:
    settings = {"joint_start": 10, "guiding_learning_rate": 1e-3, "joint_guiding_learning_rate": 1e-4}
    falls = planned(**settings, joint_guiding_full_steps=5)
    rates = [falls.phase(step).guiding_learning_rate for step in (9, 10, 14, 15, 19, 109)]
    assert rates == [1e-3, *(pytest.approx(1e-4 * share) for share in (1, 1, 5 / 6, 0.5, 0.05))]
    assert planned(**settings).phase(109).guiding_learning_rate == 1e-4
    assert planned(joint_start=10).phase(10).guiding_learning_rate == 1e-4  # the paper's, throughout
    assert planned(**settings | {"joint_start": 0}).phase(10).guiding_learning_rate == 1e-3


def test_the_weight_of_patches_falls_with_the_steps_of_g() -> None:
    falls = planned(joint_start=10, patch_weight=8.0, patch_full_steps=5)
    weights = [falls.phase(step).patch_weight for step in (9, 10, 14, 19, 109)]
    assert weights == [0, *(pytest.approx(weight) for weight in (8, 8, 4, 0.4))]
    assert planned(joint_start=10, patch_weight=8.0).phase(109).patch_weight == 8
