"""Losses that are no numbers: what is kept of them, and how often a run may go back."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from open_tunit.data.batches import Batch, PairBatch
from open_tunit.runs import Run
from open_tunit.training.plan import Phase
from open_tunit.training.steps.descent import NotFiniteError

MOST_RETRIES = 3


def keep_batch(run: Run, error: NotFiniteError, batch: Batch | PairBatch, phase: Phase, step: int, retries: int) -> str:
    """Write the step's batch and losses into the run; where they are, in words, or why they are not."""
    values = {
        "step": step,
        "phase": phase.name,
        "retries": retries,
        "message": str(error),
        "losses": error.losses,
        "batch": _plain(batch),
    }
    try:
        return f"its batch and losses are in {run.save_not_finite(values)}"
    except OSError as refused:
        return f"its batch could not be kept ({refused.strerror})"


def _plain(value: Any) -> Any:
    """Nested dataclasses and named tuples as dicts, tensors on the CPU: what torch.load(weights_only=True) reads."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {name: _plain(part) for name, part in value._asdict().items()} if hasattr(value, "_asdict") else value
