"""The pieces the three networks share: normalisations, reflected convolutions, upsampling, initialisation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5
FRN_EPS = 1e-6


def instance_norm(x: Tensor) -> Tensor:
    """Zero mean, unit biased variance over H and W of each image and channel; (N, C, H, W)."""
    var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(var + NORM_EPS)


def adain(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive instance normalisation: scale * instance_norm(x) + shift.

    x (N, C, H, W); shift and scale (N, C). Written as one multiply-add, so no layout changes.
    """
    var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
    gain = scale[:, :, None, None] * torch.rsqrt(var + NORM_EPS)
    return torch.addcmul(shift[:, :, None, None] - mean * gain, x, gain)


class FRN(nn.Module):
    """Filter response norm with a thresholded linear unit: max(gamma * x / rms(x) + beta, tau)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.tau = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape; the mean square is taken over H and W."""
        gain = self.gamma * torch.rsqrt(x.square().mean(dim=(2, 3), keepdim=True) + FRN_EPS)
        return torch.relu(torch.addcmul(self.beta - self.tau, x, gain)) + self.tau  # = max(gain x + beta, tau)


class ReflectConv(nn.Conv2d):
    """A convolution whose padding mirrors the image, as all of G's are."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, padding_mode="reflect")


class UpsampleConv(nn.Module):
    """Nearest x2 upsampling, then a reflected 5x5 convolution, computed on the small grid.

    Each of the four output phases is a 3x3 convolution of the input (25 taps fall on 9 cells), so the
    multiplications are 9/25. With the edge replicated once the outermost output row and column differ from
    the reflected ones by one tap, which `_correct_border` adds. Equal to the plain form up to rounding.
    """

    phases: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 5, 5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        taps = torch.tensor([[[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
                            , [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]])  # fmt: skip
        self.register_buffer("phases", taps.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, 2H, 2W); H and W at least 3."""
        phases = self.phases.to(self.weight.dtype)
        kernels = torch.einsum("api,bqj,ocij->oabcpq", phases, phases, self.weight).flatten(0, 2)  # (4O, I, 3, 3)
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.pixel_shuffle(F.conv2d(padded, kernels, self.bias.repeat_interleave(4)), 2)
        return self._correct_border(x, y)

    def _correct_border(self, x: Tensor, y: Tensor) -> Tensor:
        w = self.weight.to(y.dtype)
        x = x.to(y.dtype)
        rows = torch.cat([x[:, :, 1] - x[:, :, 0], x[:, :, -2] - x[:, :, -1]], dim=1)  # (N, 2I, W)
        columns = torch.cat([x[..., 1] - x[..., 0], x[..., -2] - x[..., -1]], dim=1)  # (N, 2I, H)
        row_taps = torch.cat([w[:, :, 0], w[:, :, 4]])  # (2O, I, 5)
        column_taps = torch.cat([w[:, :, :, 0], w[:, :, :, 4]])
        top, bottom = _line_conv(rows, row_taps, "reflect").chunk(2, dim=1)  # (N, O, 2W)
        left, right = _line_conv(columns, column_taps, "replicate").chunk(2, dim=1)  # (N, O, 2H)
        last = y.shape[2] - 1
        y = y.index_add(2, torch.tensor([0, last], device=y.device), torch.stack([top, bottom], dim=2))
        last = y.shape[3] - 1
        return y.index_add(3, torch.tensor([0, last], device=y.device), torch.stack([left, right], dim=3))


def _line_conv(lines: Tensor, taps: Tensor, edge: str) -> Tensor:
    doubled = lines.repeat_interleave(2, dim=2)
    return F.conv1d(F.pad(doubled, (2, 2), mode=edge), taps, groups=2)


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
