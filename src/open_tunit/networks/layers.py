"""The pieces the three networks share: convolutions that pad, pool or enlarge; initialisation."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

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
        kernel = _recombined(self.weight, self.taps).unflatten(1, (4, 4)).permute(0, 3, 1, 2)  # (O, I, 4, 4)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)


class CollapseConv(nn.Conv2d):
    """A convolution whose kernel is as large as its input, as the matrix product that it is.

    As a convolution it reorders its weights, the largest of D's, for every product of R1's double backward.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, kernel, kernel) -> (N, outputs, 1, 1)."""
        pixels, weight = x.permute(0, 2, 3, 1).flatten(1), self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(pixels, weight, self.bias)[:, :, None, None]


class UpsampleConv(nn.Module):
    """Nearest x2 upsampling, then a reflected 5x5 convolution, computed on the small grid.

    Each of the four output phases is a 3x3 convolution of the input (25 taps fall on 9 cells), so the
    multiplications are 9/25. With the edge replicated once the outermost output row and column differ from
    the reflected ones by one line of taps, which `_borders` gives. Equal to the plain form up to rounding.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 5, 5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        even = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]])
        lines = torch.stack([even, even.flip(0, 1)])  # (phase, cell, tap)
        both = torch.einsum("api,bqj->abpqij", lines, lines).reshape(36, 25)
        self.register_buffer("taps", both.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, 2H, 2W), channels last; H and W at least 3."""
        cells = _recombined(self.weight, self.taps).unflatten(1, (2, 2, 3, 3))  # (O, a, b, 3, 3, I)
        kernels = cells.permute(1, 2, 0, 3, 4, 5).flatten(0, 2).permute(0, 3, 1, 2)  # (4O, I, 3, 3)
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels, self.bias.repeat(4))
        y = y.unflatten(1, (2, 2, -1)).permute(0, 4, 1, 5, 2, 3)  # (N, H, a, W, b, O)
        y = y.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        return _add_borders(y, *_borders(x.to(y.dtype), cells.to(y.dtype)))


def _borders(x: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What top, bottom (N, O, 2W), left and right (N, O, 2H) lack.

    cells (O, a, b, 3, 3, I): the phases' kernels. In a phase's outermost line of cells lies one line of taps alone,
    that which the reflection puts elsewhere; of it, the ends of top and bottom again.
    """
    rows = torch.cat([x[:, :, 1] - x[:, :, 0], x[:, :, -2] - x[:, :, -1]], dim=1)  # (N, 2I, W)
    columns = torch.cat([x[..., 1] - x[..., 0], x[..., -2] - x[..., -1]], dim=1)  # (N, 2I, H)
    row_cells = torch.cat([cells[:, 1, :, 0], cells[:, 0, :, 2]])  # (2O, b, 3, I)
    column_cells = torch.cat([cells[:, :, 1, :, 0], cells[:, :, 0, :, 2]])  # (2O, a, 3, I)
    horizontal, vertical = _line_conv(rows, row_cells), _line_conv(columns, column_cells)  # (N, 2O, phase, L)
    corner_cells = torch.cat([row_cells[:, 1, 0], row_cells[:, 0, 2]])  # (4O, I)
    ends = torch.cat([rows[..., 1] - rows[..., 0], rows[..., -2] - rows[..., -1]], dim=1)  # (N, 4I)
    corners = F.conv1d(ends[..., None], corner_cells[..., None], groups=4)
    first, last = corners[..., 0].chunk(2, dim=1)
    horizontal[:, :, 0, 0] += first
    horizontal[:, :, 1, -1] += last
    top, bottom = horizontal.transpose(2, 3).flatten(2).chunk(2, dim=1)
    left, right = vertical.transpose(2, 3).flatten(2).chunk(2, dim=1)
    return top, bottom, left, right


def _line_conv(lines: Tensor, cells: Tensor) -> Tensor:
    """Two lines (N, 2I, L), each to two phases with its own cells (2O, 2, 3, I) -> (N, 2O, 2, L)."""
    kernels = cells.flatten(0, 1).mT  # (2O * 2, I, 3)
    phases: Tensor = F.conv1d(F.pad(lines, (1, 1), mode="replicate"), kernels, groups=2).unflatten(1, (-1, 2))
    return phases


def _recombined(weight: Tensor, taps: Tensor) -> Tensor:
    """(O, I, k, k) -> (O, T, I): T new taps, each a sum of the old ones with its row of `taps` (T, k * k)."""
    return taps.to(weight.dtype) @ weight.flatten(2).mT


def _add_borders(y: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return _with_borders(y, top, bottom, left, right)
    added: Tensor = _AddBorders.apply(y, top, bottom, left, right)  # type: ignore[no-untyped-call]
    return added


def _with_borders(y: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    y[:, :, 0] += top
    y[:, :, -1] += bottom
    y[..., 0] += left
    y[..., -1] += right
    return y


class _AddBorders(Function):
    """In place, with the image's gradient handed on as it is: autograd would copy it four times."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.mark_dirty(y)
        return _with_borders(y, top, bottom, left, right)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        return g, g[:, :, 0], g[:, :, -1], g[..., 0], g[..., -1]


def init_kaiming(module: nn.Module, *, mode: str = "fan_in") -> None:
    """Kaiming normal weights (gain sqrt 2) and zero biases for every convolution and linear layer inside."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear, UpsampleConv)):
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def powers(start: int, count: int, most: int) -> list[int]:
    """start, 2 start, 4 start, ... (`count` numbers), none above `most`."""
    return [min(start * 2**level, most) for level in range(count)]


SQRT_HALF = 1 / math.sqrt(2)
