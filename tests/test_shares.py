"""Several processes with a part of the batch each train as one with all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from several import alone, together
from shared_steps import CASES, Case, all_of, first_gradients, taken

TOLERANCE = 1e-9
"""Relative, in float64, after five joint steps."""


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return together(all_of, 2, tmp_path_factory.mktemp("two") / "results", CASES)


def assert_close(found: Any, expected: Any, name: str) -> None:
    """Of nested mappings and lists the first number that differs fails, by name."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            assert_close(found[key], value, f"{name} {key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), name
        for index, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
            assert_close(mine, theirs, f"{name} {index}")
    elif expected is None:
        assert found is None, name
    else:
        mine, theirs = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
        torch.testing.assert_close(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_train_as_one(by_two: list[dict[str, Any]], case: Case) -> None:
    terms, state = alone(taken, case)
    for found_terms, found in (each[case.name] for each in by_two):
        assert_close(found_terms, terms, "terms of step")
        assert_close(found, state, "state")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_float32_gradients_are_as_near_float64s(by_two: list[dict[str, Any]], case: Case) -> None:
    exact, single = (alone(first_gradients, case, dtype) for dtype in (torch.float64, torch.float32))
    for name, gradient in exact.items():
        error, shared = (float((each[name] - gradient).norm()) for each in (single, by_two[0][f"{case.name} float32"]))
        assert shared <= 2 * error, name
