"""Exponential moving averages of networks."""

from __future__ import annotations

import torch
from torch import nn


def decay_at(step: int, *, decay: float, warmup: bool) -> float:
    """The decay of the update after `step` (from 0); with `warmup` it rises as (1 + t) / (10 + t) up to `decay`."""
    return min(decay, (1 + step) / (10 + step)) if warmup else decay


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network, parameters only."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, network: nn.Module) -> None:
    """Give the average the network's buffers (batch-norm averages), as is done when the copy is used."""
    for target, source in zip(average.buffers(), network.buffers(), strict=True):
        target.copy_(source)
