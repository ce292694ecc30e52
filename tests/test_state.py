"""The state of a run: queue, averages, optimisers."""

from __future__ import annotations

import pytest
import torch
from small_runs import (
    CPU,
    parameters,
    same,
    tiny,
)
from torch import nn

from open_tunit.training.steps.muon import Muon
from open_tunit.training.steps.state import Queue, copy_buffers, decay_at, new_state, update_average


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


def test_the_small_presets_optimisers_are_muon_and_adam() -> None:
    state = new_state(tiny("cpu", training__learning_rate=2e-4), CPU)
    for optimiser, kind in ((state.opt_G, Muon), (state.opt_D, torch.optim.Adam)):
        assert type(optimiser) is kind
        (group,) = optimiser.param_groups
        assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.99))
    assert type(state.opt_E) is Muon
    (group,) = state.opt_E.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 0.0)


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
