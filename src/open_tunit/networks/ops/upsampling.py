"""Nearest x2 upsampling and the reflected 5x5 convolution after it, computed on the small grid."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from open_tunit.networks.ops.convolutions import recombined

WIDE = 64
"""Outputs from which differences pay: fewer multiplications by more convolutions. Measured in float32 on a CPU."""
EVEN = ((1, 1, 0, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1))
"""An even phase along one axis: which of the five taps fall on the cell before, on its own and on the one after."""
ODD = ((1, 0, 0, 0, 0), (0, 1, 1, 0, 0), (0, 0, 0, 1, 1))
MORE = ((0, 1, 0, 0, 0), (0, 0, 0, 1, 0))
"""What an even phase has more than the odd one, on the differences of neighbouring cells."""
KERNELS = {(3, 3): (ODD, ODD), (2, 3): (MORE, ODD), (3, 2): (ODD, MORE), (2, 2): (MORE, MORE)}


class UpsampleConv(nn.Module):
    """Nearest x2 upsampling, then a reflected 5x5 convolution, computed on the small grid.

    Each of the four output phases is a 3x3 convolution of the input (25 taps fall on 9 cells), so the
    multiplications are 9/25 of the plain form's; by differences of cells they are 1/4. With the edge replicated once
    the outermost output row and column differ from the reflected ones by one line of taps, which `_borders` gives.
    Equal to the plain form up to rounding.
    """

    taps: Tensor
    difference_taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 5, 5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        lines = torch.tensor([EVEN, ODD], dtype=torch.float32)  # (phase, cell, tap)
        both = torch.einsum("api,bqj->abpqij", lines, lines).reshape(36, 25)
        self.register_buffer("taps", both, persistent=False)
        differences = [torch.kron(torch.tensor(rows), torch.tensor(columns)) for rows, columns in KERNELS.values()]
        self.register_buffer("difference_taps", torch.cat(differences).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, 2H, 2W), channels last; H and W at least 3."""
        cells = recombined(self.weight, self.taps).unflatten(1, (2, 2, 3, 3))  # (O, a, b, 3, 3, I)
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        full = x.is_cpu and x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu")
        wide = len(self.weight) >= WIDE
        differences = full and wide and not torch.compiler.is_compiling()
        y = self._by_differences(padded) if differences else self._at_once(padded, cells)
        return _add_borders(y, *_borders(x.to(y.dtype), cells.to(y.dtype)))

    def _at_once(self, x: Tensor, cells: Tensor) -> Tensor:
        """All four phases by one convolution."""
        kernels = cells.permute(1, 2, 0, 3, 4, 5).flatten(0, 2).permute(0, 3, 1, 2)  # (4O, I, 3, 3)
        y: Tensor = F.conv2d(x, kernels, self.bias.repeat(4)).unflatten(1, (2, 2, -1))
        return y.permute(0, 4, 1, 5, 2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)  # from (N, H, a, W, b, O)

    def _by_differences(self, x: Tensor) -> Tensor:
        """The phase (odd, odd), and how much the others differ from it: 25 multiplications where four phases have 36.

        Along an axis the odd phase is w0 x[-1] + (w1 + w2) x[0] + (w3 + w4) x[1], the even one
        w1 (x[-1] - x[0]) + w3 (x[0] - x[1]) more.
        """
        rows, columns = x[:, :, :-1] - x[:, :, 1:], x[..., :-1] - x[..., 1:]
        both = rows[..., :-1] - rows[..., 1:]
        weights = recombined(self.weight, self.difference_taps).split([h * w for h, w in KERNELS], dim=1)
        kernels = [w.unflatten(1, side).permute(0, 3, 1, 2) for w, side in zip(weights, KERNELS, strict=True)]
        biases = (self.bias, None, None, None)
        parts = [F.conv2d(*each) for each in zip((x, rows, columns, both), kernels, biases, strict=True)]
        y: Tensor = _Phases.apply(*parts)  # type: ignore[no-untyped-call]
        return y


class _Phases(Function):
    """The phase (odd, odd) and what rows, columns and both add to it, each (N, O, H, W) -> (N, O, 2H, 2W)."""

    @staticmethod
    def forward(ctx: Any, odd: Tensor, rows: Tensor, columns: Tensor, both: Tensor) -> Tensor:
        n, channels, height, width = odd.shape
        shape = (n, channels, 2 * height, 2 * width)
        y = torch.empty(shape, dtype=odd.dtype, memory_format=torch.channels_last)
        y[:, :, 1::2, 1::2] = odd
        torch.add(odd, columns, out=y[:, :, 1::2, ::2])
        top = torch.add(odd, rows, out=y[:, :, ::2, 1::2])
        torch.add(top, columns + both, out=y[:, :, ::2, ::2])
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        corner, top, left, odd = g[:, :, ::2, ::2], g[:, :, ::2, 1::2], g[:, :, 1::2, ::2], g[:, :, 1::2, 1::2]
        rows = corner + top
        return (rows + left).add_(odd), rows, corner + left, corner


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
