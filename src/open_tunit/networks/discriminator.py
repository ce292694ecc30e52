"""D, the discriminator: real or fake, one output per domain."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.networks.initialise import init_kaiming
from open_tunit.networks.ops.convolutions import FRN, SQRT_HALF, CollapseConv, PooledConv, powers
from open_tunit.settings.config import Discriminator as Shape
from open_tunit.settings.config import Model

LEAK = 0.2
CELLS = 4
"""Side of the grid that the blocks end on."""


class ResidualBlock(nn.Module):
    """(shortcut + residual) / sqrt 2; residual = FRN, conv 3x3, [average pool], FRN, conv 3x3."""

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.norm1 = FRN(inputs)
        self.norm2 = FRN(inputs)
        self.conv1 = PooledConv(inputs, inputs) if halve else nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), or half the side."""
        residual = self.conv1(self.norm1(x))
        # The 1x1 convolution and the pool commute; on the small grid it costs a quarter.
        shortcut = F.avg_pool2d(x, 2) if self.halve else x
        residual = self.conv2(self.norm2(residual))
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        mean: Tensor = residual.add_(shortcut).mul_(SQRT_HALF)
        return mean


class Discriminator(nn.Module):
    """Residual blocks down to 4x4, then one number per domain (the multi-task discriminator of Liu et al. 2019)."""

    def __init__(self, config: Model, shape: Shape) -> None:
        super().__init__()
        levels = int(math.log2(config.size // CELLS))
        widths = powers(shape.width, levels + 1, shape.max_width)
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        blocks: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(widths):
            blocks += [ResidualBlock(narrow, narrow, halve=False), ResidualBlock(narrow, wide, halve=True)]
        self.blocks = nn.Sequential(*blocks)
        self.collapse = CollapseConv(widths[-1], widths[-1], CELLS)
        self.heads = nn.Conv2d(widths[-1], config.domains, 1)
        init_kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, S, S) -> logits (N, K), one per domain; high means real."""
        x = F.leaky_relu(self.blocks(self.stem(x)), LEAK)
        x = F.leaky_relu(self.collapse(x), LEAK)  # (N, C, 1, 1)
        return torch.flatten(self.heads(x), 1)
