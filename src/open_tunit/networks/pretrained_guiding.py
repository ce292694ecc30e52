"""E with a frozen pretrained trunk: domains and style codes are linear in features that photographs have already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.networks.backbone import HEAD_CHANNELS, LEVEL_CHANNELS, Backbone
from open_tunit.networks.guiding import HEAD_STD, Guidance

COLOUR_LEVELS = 3
"""The backbone's first levels, whose statistics still contain colours and textures."""
COLOURS = 2 * (3 + sum(LEVEL_CHANNELS[:COLOUR_LEVELS]))
"""A mean and a deviation for each channel of the image and of these levels."""
VARIANCE_FLOOR = 1e-4
"""As in GuidingNetwork: keeps the deviation's gradient finite where a channel is flat."""


class PretrainedGuiding(nn.Module):
    """GuidingNetwork's interface on EfficientNet-Lite0.

    The style code is two linear maps: `style_head` reads the pooled features, `palette_head` the colours. Like
    `domain_head` they are fitted to cached features (training/fitting/pretrained.py), or learned. The trunk is all
    buffers, so no optimiser reaches it.
    """

    def __init__(
        self,
        domains: int,
        *,
        style_dim: int = 128,
        palette_dim: int = 64,
        side: int,
        trunk: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.side = side
        self.trunk = Backbone() if trunk is None else trunk
        self.domain_head = nn.Linear(HEAD_CHANNELS, domains)
        self.style_head = nn.Linear(HEAD_CHANNELS, style_dim - palette_dim)
        self.palette_head = nn.Linear(COLOURS, palette_dim)
        self.shape_head = None
        self.palette_norm = None
        for head in (self.domain_head, self.style_head, self.palette_head):
            nn.init.normal_(head.weight, std=HEAD_STD)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> Guidance:
        """Images (N, 3, S, S) in [-1, 1] -> their Guidance."""
        return self.read(*self.features(x))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads read: the pooled features (N, 1280) and the colours (N, COLOURS) of images in [-1, 1].

        The trunk's input is resized to `side` pixels.
        """
        levels = self.trunk(resized(x, self.side))
        pooled = self.trunk.top(levels[-1]).mean(dim=(2, 3))
        parts = [part for level in (x, *levels[:COLOUR_LEVELS]) for part in _mean_and_deviation(level)]
        return pooled, torch.cat(parts, dim=1)

    def read(self, features: Tensor, colours: Tensor) -> Guidance:
        """The Guidance of images with these `features`; it has no shape code, (N, 0)."""
        style = torch.cat([self.style_head(features), self.palette_head(colours)], dim=1)
        return Guidance(self.domain_head(features), style, features[:, :0])


def resized(x: Tensor, side: int) -> Tensor:
    """Images (N, 3, S, S) at (side, side): bicubic where that enlarges, the mean over areas where it shrinks."""
    if x.shape[-1] == side:
        return x
    if x.shape[-1] > side:
        return F.interpolate(x, size=(side, side), mode="area")
    return F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)


def _mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    return mean, (variance + VARIANCE_FLOOR).sqrt()
