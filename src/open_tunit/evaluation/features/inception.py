"""Inception-v3 as the FID has it: Szegedy et al. 2016, with the pooling of the TensorFlow network of 2015-12-05."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.evaluation.features.weights_download import fetch

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
"""The TensorFlow network's weights as pytorch-fid publishes them."""
SHA256_PREFIX = "6726825d"
"""By torch.hub's convention the file's name ends in the first digits of its SHA-256."""
SIDE = 299

Square, Wide, Tall = 3, (1, 7), (7, 1)


class Inception(nn.Module):
    """Pixels (N, 3, 299, 299) in [-1, 1] -> pool features (N, 2048). Module names are the published weights'."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, same=True)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _Cells35(192, pooled=32)
        self.Mixed_5c = _Cells35(256, pooled=64)
        self.Mixed_5d = _Cells35(288, pooled=64)
        self.Mixed_6a = _To17(288)
        self.Mixed_6b = _Cells17(768, width=128)
        self.Mixed_6c = _Cells17(768, width=160)
        self.Mixed_6d = _Cells17(768, width=160)
        self.Mixed_6e = _Cells17(768, width=192)
        self.Mixed_7a = _To8(768)
        self.Mixed_7b = _Cells8(1280, pool=_average)
        self.Mixed_7c = _Cells8(2048, pool=_maximum)  # the FID's own: not the average of the other cells

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 299, 299) -> (N, 2048)"""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = F.max_pool2d(x, 3, stride=2)  # (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6a(x)  # (N, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (N, 2048, 8, 8)
        return x.mean(dim=(2, 3))


def load_inception(cache_root: Path, file: Path | None = None) -> Inception:
    """The network with the published weights: of `file`, or fetched once into the cache.

    Raises ValueError where they cannot be had or are no weights of this network.
    """
    path = fetch(URL, cache_root / "networks" / URL.rpartition("/")[2], SHA256_PREFIX) if file is None else file
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        network = Inception()
        network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("fc.")})
    except OSError:
        raise
    except Exception as error:  # on damaged bytes torch's readers raise nearly anything
        detail = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} does not hold the weights of FID's Inception-v3: {detail}") from error
    return network.eval().requires_grad_(False)


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, same: bool = False
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    """TensorFlow's: padding is no part of the average."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


class _Cells35(nn.Module):
    """Figure 5 of the paper, on 35 x 35 cells: (N, inputs, 35, 35) -> (N, 224 + pooled, 35, 35)."""

    def __init__(self, inputs: int, *, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1 = _Conv(inputs, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, same=True)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, Square, same=True)
        self.branch3x3dbl_3 = _Conv(96, 96, Square, same=True)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], dim=1)


class _To17(nn.Module):
    """From 35 x 35 to 17 x 17 cells: (N, inputs, 35, 35) -> (N, 480 + inputs, 17, 17)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, Square, stride=2)
        self.branch3x3dbl_1 = _Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, Square, same=True)
        self.branch3x3dbl_3 = _Conv(96, 96, Square, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], dim=1)


class _Cells17(nn.Module):
    """Figure 6, on 17 x 17 cells: (N, inputs, 17, 17) -> (N, 768, 17, 17)."""

    def __init__(self, inputs: int, *, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 192, 1)
        self.branch7x7_1 = _Conv(inputs, width, 1)
        self.branch7x7_2 = _Conv(width, width, Wide, same=True)
        self.branch7x7_3 = _Conv(width, 192, Tall, same=True)
        self.branch7x7dbl_1 = _Conv(inputs, width, 1)
        self.branch7x7dbl_2 = _Conv(width, width, Tall, same=True)
        self.branch7x7dbl_3 = _Conv(width, width, Wide, same=True)
        self.branch7x7dbl_4 = _Conv(width, width, Tall, same=True)
        self.branch7x7dbl_5 = _Conv(width, 192, Wide, same=True)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], dim=1)


class _To8(nn.Module):
    """From 17 x 17 to 8 x 8 cells: (N, inputs, 17, 17) -> (N, 512 + inputs, 8, 8)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(inputs, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, Square, stride=2)
        self.branch7x7x3_1 = _Conv(inputs, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, Wide, same=True)
        self.branch7x7x3_3 = _Conv(192, 192, Tall, same=True)
        self.branch7x7x3_4 = _Conv(192, 192, Square, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], dim=1)


class _Cells8(nn.Module):
    """Figure 7, on 8 x 8 cells: (N, inputs, 8, 8) -> (N, 2048, 8, 8)."""

    def __init__(self, inputs: int, *, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), same=True)
        self.branch3x3_2b = _Conv(384, 384, (3, 1), same=True)
        self.branch3x3dbl_1 = _Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, Square, same=True)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), same=True)
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), same=True)
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(self.pool(x)),
            ],
            dim=1,
        )
