"""E, the guiding network: an image's domain logits and style code from one trunk."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from open_tunit.networks.initialise import init_kaiming
from open_tunit.settings.config import Model

HEAD_STD = 0.01
STAGES = (1, 2, 4, 8, 8)
"""Channels of each stage, in guiding_widths."""
PALETTE_STAGES = 3
"""Colours are linear in the first stages' statistics, with R squared of .98, .97 and .79 (docs/log.md)."""
VARIANCE_FLOOR = 1e-4
"""Keeps the deviation's gradient finite where a channel is flat."""


class Guidance(NamedTuple):
    """E's outputs for a batch of N images."""

    logits: Tensor
    """(N, K): softmax over K is the pseudo label's probability."""
    style: Tensor
    """(N, style_dim): the code that G redraws with."""
    shape: Tensor
    """(N, projection_dim): the shape code, contrasted across changes of colour; no columns in the paper's network."""


class GuidingNetwork(nn.Module):
    """VGG-11 with batch norm, global average pool, linear heads (Baek et al. 2021, section 3.1).

    The published trunk is guiding_width 64, guiding_depths (1, 1, 2, 2, 2). A departure, with `palette_dim`: the last
    so many numbers of the style code are the palette: a linear map of shallow-feature statistics, the means and
    deviations of the image's channels and of the first stages, where colours that the last stage has become invariant
    to are still present (docs/log.md, "Averages of E's first stages in the style code"). They are 0 until G is trained.
    """

    def __init__(self, config: Model) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for factor, depth in zip(STAGES, config.guiding_depths, strict=True):
            width = factor * config.guiding_width
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*layers)
        self.domain_head = nn.Linear(channels, config.domains)
        self.style_head = nn.Linear(channels, config.style_dim - config.palette_dim)
        self.shape_head = nn.Linear(channels, config.projection_dim) if config.projection_dim else None
        init_kaiming(self.trunk, mode="fan_out")
        for head in (self.domain_head, self.style_head, self.shape_head):
            if head is not None:
                nn.init.normal_(head.weight, std=HEAD_STD)
                nn.init.zeros_(head.bias)
        self.palette_norm: nn.BatchNorm1d | None = None
        self.palette_head: nn.Linear | None = None
        if config.palette_dim:
            self.palette_norm = nn.BatchNorm1d(config.colours, affine=False)
            self.palette_head = nn.Linear(config.colours, config.palette_dim, bias=False)
            nn.init.zeros_(self.palette_head.weight)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The weights of its convolutions but for the first; the heads are its ends."""
        return [p for layer in self.trunk for p in layer.parameters() if p.ndim >= 2][1:]

    def forward(self, x: Tensor) -> Guidance:
        """Images (N, 3, S, S) in [-1, 1] -> their Guidance."""
        return self.read(*self.features(x))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' inputs: pooled features (N, 8 * guiding_width), shallow-feature statistics (N, config.colours).

        Without a palette there are no statistics, (N, 0).
        """
        early = [x]
        for layer in self.trunk:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d) and len(early) <= PALETTE_STAGES:
                early.append(x)
        features = x.mean(dim=(2, 3))
        if self.palette_head is None:
            return features, features[:, :0]
        return features, torch.cat([part for stage in early for part in _mean_and_deviation(stage)], dim=1)

    def read(self, features: Tensor, colours: Tensor) -> Guidance:
        """The Guidance of images with these `features`."""
        shape = features[:, :0] if self.shape_head is None else self.shape_head(features)
        style = self.style_head(features)
        if self.palette_norm is not None and self.palette_head is not None:
            style = torch.cat([style, self.palette_head(self.palette_norm(colours))], dim=1)
        return Guidance(self.domain_head(features), style, shape)


def _mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.float() if x.dtype == torch.bfloat16 else x
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3))
    return mean[:, :, 0, 0], (variance + VARIANCE_FLOOR).sqrt()
