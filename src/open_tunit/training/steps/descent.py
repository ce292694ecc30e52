"""From a loss to its networks: an optimiser step for each of them, and none where the loss is not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from open_tunit.training.distributed.shares import WHOLE, Share
from open_tunit.training.steps import objectives


class NotFiniteError(ArithmeticError):
    """A loss is infinite or not a number; the networks were not updated with it. `losses` are its terms by name."""

    def __init__(self, message: str, losses: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.losses = dict(losses or {})


def not_finite(what: str, terms: objectives.Terms, step: int) -> NotFiniteError:
    """The error, to be raised, with the terms' values."""
    values = {name: float(value) for name, value in terms.items()}
    parts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return NotFiniteError(f"{what} not finite at step {step} ({parts})", values)


LOOK_EVERY = 100
"""Steps on a GPU between looks at whether the losses are numbers: each look makes the host wait for it."""


@contextlib.contextmanager
def fixed(network: nn.Module) -> Iterator[None]:
    """Gradients pass through the network to its inputs, none reaches its weights."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


def _looks(device: torch.device, step: int) -> bool:
    """Whether it is time to see if the losses are numbers; what is being captured has none yet."""
    captured = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return device.type == "cpu" or (step % LOOK_EVERY == 0 and not captured)


def descend(
    objective: objectives.Objective,
    name: str,
    learners: list[tuple[nn.Module, torch.optim.Optimizer]],
    step: int,
    share: Share = WHOLE,
) -> objectives.Terms:
    """One optimiser step for each learner, no other network gets a gradient; returns the terms of the whole batch."""
    total, *values = share.mean([objective.total, *objective.terms.values()])
    terms = dict(zip(objective.terms, values, strict=True))
    if _looks(total.device, step) and not torch.isfinite(total):
        for _, optimiser in learners:
            optimiser.zero_grad(set_to_none=True)
        raise not_finite(f"the loss of {name} is", terms, step)
    parameters = [p for network, _ in learners for p in network.parameters() if p.requires_grad]
    torch.autograd.backward(objective.total, inputs=parameters)
    share.reduce(parameters)
    for _, optimiser in learners:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return terms
