"""D on the features of a frozen network: fixed random projections, and four small discriminators of one output per
domain at every place (Sauer et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from open_tunit.device import alike, in_float64
from open_tunit.networks.backbone import LEVEL_CHANNELS
from open_tunit.networks.ops.convolutions import SQRT_HALF

LEVELS = 4
"""Of the backbone: strides 2, 4, 8 and 16."""
WIDTH = 64
"""Channels of the projections and of the discriminators."""
NORM_GROUPS = 8
LEAK = 0.2
DEVIATION_FLOOR = 1e-3


class Projection(nn.Module):
    """Features, standardised per channel, mixed by fixed random convolutions: across channels, then across levels.

    Sauer et al. 2021, section 3.2 (CCM and CSM): every level to `width` channels by a 1x1 convolution; then from the
    deepest level to the first, each added to the one below it, enlarged, and mixed by a 3x3 convolution.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        for level, count in enumerate(self.channels):
            self.register_buffer(f"mean{level}", torch.zeros(count))
            self.register_buffer(f"deviation{level}", torch.ones(count))
            self.register_buffer(f"across{level}", _fixed(width, count, 1))
            if level + 1 < len(self.channels):
                self.register_buffer(f"mix{level}", _fixed(width, width, 3))

    @property
    def deviations(self) -> list[Tensor]:
        """Per level the channels' deviations, (C,) each."""
        return [self.get_buffer(f"deviation{level}") for level in range(len(self.channels))]

    @torch.no_grad()
    def measure(self, levels: Sequence[Tensor]) -> None:
        """Take the channels' means and deviations from the features of some real images, (N, C, H, W) each."""
        for level, features in enumerate(levels[: len(self.channels)]):
            channels = in_float64(features.transpose(0, 1).flatten(1))  # (C, N * H * W)
            deviation, mean = torch.std_mean(channels, dim=1)
            for name, values in (("mean", mean), ("deviation", deviation + DEVIATION_FLOOR)):
                buffer = self.get_buffer(f"{name}{level}")
                buffer.copy_(alike(values, buffer))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's levels, at least as many as this has -> as many of `width` channels, of the same sides."""
        across = []
        for level, features in enumerate(levels[: len(self.channels)]):
            # (f - mean) / deviation and the 1x1 convolution are one convolution
            weight = self.get_buffer(f"across{level}") / self.get_buffer(f"deviation{level}")[:, None, None]
            bias = -(weight[:, :, 0, 0] @ self.get_buffer(f"mean{level}"))
            across.append(F.conv2d(features, weight, bias))
        mixed = [across[-1]]
        for level in range(len(across) - 2, -1, -1):
            deeper = F.interpolate(mixed[-1], scale_factor=2.0, mode="nearest")
            mix = self.get_buffer(f"mix{level}")
            mixed.append(F.conv2d(across[level] + deeper, mix, padding=1) * SQRT_HALF)
        return mixed[::-1]


class ProjectedDiscriminator(nn.Module):
    """Projection, and a discriminator for each level, with spectral norm, group norm and no gradient penalty.

    Each halves its level until all are as small as the deepest one. Everything random follows `seed`, and leaves the
    global generator alone. Call `projection.measure` once before training. In train mode every call takes a step of
    the spectral norm's power iteration, whose vectors are buffers.
    """

    def __init__(self, domains: int, *, width: int = WIDTH, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projection = Projection(LEVEL_CHANNELS[:LEVELS], width)
            self.heads = nn.ModuleList(_head(width, LEVELS - 1 - level, domains) for level in range(LEVELS))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's levels of N images -> per level (N, K, P): an output per domain at each of P places.

        High means real. P is (S / 16)^2 for images of side S.
        """
        projected = self.projection(levels)
        return [head(features).flatten(2) for head, features in zip(self.heads, projected, strict=True)]


def at_domains(outputs: Sequence[Tensor], domains: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean over levels of `loss` of the outputs (N, P) at the domain (N,) of each image.

    `outputs` holds a level's (N, K, P) each. `loss` averages over images and places, as
    `losses.discriminator_on_real` does.
    """
    rows = torch.arange(len(domains), device=domains.device)
    return torch.stack([loss(level[rows, domains]) for level in outputs]).mean()


def _head(width: int, halvings: int, domains: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(halvings):
        layers += [spectral_norm(nn.Conv2d(width, width, 4, stride=2, padding=1)), nn.GroupNorm(NORM_GROUPS, width)]
        layers.append(nn.LeakyReLU(LEAK))
    layers += [spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(LEAK)]
    layers.append(spectral_norm(nn.Conv2d(width, domains, 1)))
    return nn.Sequential(*layers)


def _fixed(outputs: int, inputs: int, kernel: int) -> Tensor:
    """A random convolution that keeps the variance (Kaiming normal, gain 1)."""
    return torch.randn(outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel**2)
