"""The pieces the networks share: convolutions that mirror their border, pool, or take all in."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.networks.ops.norms import frn

BLOCK = (2, 4)
"""Rows and columns of the pixels that a thin convolution computes at once."""


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


class ThinConv(ReflectConv):
    """A reflected convolution to a few outputs; on a CPU it computes blocks of 2 x 4 pixels at once.

    Vector units take 8 or 16 outputs at a time and are idle for the rest: 24 outputs, whose larger kernels are mostly
    the same taps moved, take less time than 3 (benchmarks/last_convolution.py). Equal to the plain form up to rounding.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, padding: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=padding)
        moved = [torch.stack([F.pad(torch.eye(kernel), (at, side - 1 - at)) for at in range(side)]) for side in BLOCK]
        both = torch.einsum("apy,bqx->abyxpq", *moved)  # a tap of the block's kernel is one of the old, or none
        self.register_buffer("taps", both.flatten(0, 3).flatten(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        if not x.is_cpu or x.shape[2] % BLOCK[0] or x.shape[3] % BLOCK[1] or torch.compiler.is_compiling():
            plain: Tensor = super().forward(x)
            return plain
        assert self.bias is not None
        shape = [*BLOCK, *(k + side - 1 for k, side in zip(self.kernel_size, BLOCK, strict=True))]
        kernels = recombined(self.weight, self.taps).unflatten(1, shape).permute(1, 2, 0, 3, 4, 5)
        kernel = kernels.flatten(0, 2).permute(0, 3, 1, 2)  # (a b O, I, 8, 10)
        padded = F.pad(x, (int(self.padding[0]),) * 4, mode="reflect")
        y: Tensor = F.conv2d(padded, kernel, self.bias.repeat(math.prod(BLOCK)), stride=BLOCK)
        blocks: Tensor = y.permute(0, 2, 3, 1).unflatten(3, (*BLOCK, -1)).transpose(2, 3)  # (N, H / 2, a, W / 4, b, O)
        return blocks.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


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
