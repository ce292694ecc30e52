"""The pieces the networks share: convolutions that mirror their border, pool, or take all in."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.networks.norms import frn


class FRN(nn.Module):
    """Filter response norm with a thresholded linear unit (`norms.frn`); gamma 1, beta and tau 0 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.tau = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return frn(x, self.gamma, self.beta, self.tau)


class ReflectConv(nn.Conv2d):
    """A convolution whose padding mirrors the image, as all of G's are."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, padding_mode="reflect")


class PooledConv(nn.Conv2d):
    """A 3x3 convolution, padding 1, then 2x2 average pooling: together a 4x4 convolution of stride 2.

    The multiplications are 4/9 of the plain form's, and equal to it up to rounding.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        line = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]) / 2
        self.register_buffer("taps", torch.kron(line, line), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / 2, W / 2)."""
        kernel = recombined(self.weight, self.taps).unflatten(1, (4, 4)).permute(0, 3, 1, 2)  # (O, I, 4, 4)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)


class CollapseConv(nn.Conv2d):
    """A convolution whose kernel is as large as its input, as the matrix product that it is.

    As a convolution it reorders its weights, the largest of D's, for every product of R1's double backward.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, kernel, kernel) -> (N, outputs, 1, 1)."""
        pixels, weight = x.permute(0, 2, 3, 1).flatten(1), self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(pixels, weight, self.bias)[:, :, None, None]


def recombined(weight: Tensor, taps: Tensor) -> Tensor:
    """(O, I, k, k) -> (O, T, I): T new taps, each a sum of the old ones with its row of `taps` (T, k * k)."""
    return taps.to(weight.dtype) @ weight.flatten(2).mT


def powers(start: int, count: int, most: int) -> list[int]:
    """start, 2 start, 4 start, ... (`count` numbers), none above `most`."""
    return [min(start * 2**level, most) for level in range(count)]


SQRT_HALF = 1 / math.sqrt(2)
