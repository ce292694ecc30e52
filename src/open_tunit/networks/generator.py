"""G, the generator: content of one image, style code of another, a translation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from open_tunit.networks.initialise import init_kaiming
from open_tunit.networks.ops.convolutions import ReflectConv, ThinConv
from open_tunit.networks.ops.norms import adain, instance_norm
from open_tunit.networks.ops.upsampling import UpsampleConv
from open_tunit.settings.config import Model

PLAIN_GAIN = 0.3
"""Factor on the style MLP's last layer, and on the last convolution, of a plain start."""


class ContentBlock(nn.Module):
    """x + scale * (conv, norm, ReLU, conv, norm)(x), instance-normalised."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = ReflectConv(channels, channels, 3, padding=1)
        self.conv2 = ReflectConv(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        residual = instance_norm(self.conv2(torch.relu_(instance_norm(self.conv1(x), weights))), weights)
        return torch.add(x, residual, alpha=self.scale)


class StyledBlock(nn.Module):
    """The same with AdaIN: the style's numbers are arguments."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = ReflectConv(channels, channels, 3, padding=1)
        self.conv2 = ReflectConv(channels, channels, 3, padding=1)

    def forward(
        self, x: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], weights: Tensor | None = None
    ) -> Tensor:
        """x (N, C, H, W) and two (shift, scale) pairs of (N, C) -> the shape of x."""
        residual = adain(self.conv2(torch.relu_(adain(self.conv1(x), *first, weights))), *second, weights)
        return torch.add(x, residual, alpha=self.scale)


class ContentEncoder(nn.Module):
    """7x7 convolution, halvings by 4x4 stride 2, residual blocks; instance norm and ReLU."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        width = config.generator_width
        self.stem = ReflectConv(3, width, 7, padding=3)
        self.down = nn.ModuleList(
            ReflectConv(width * 2**level, width * 2 ** (level + 1), 4, stride=2, padding=1)
            for level in range(config.halvings)
        )
        self.blocks = nn.ModuleList(
            ContentBlock(width * 2**config.halvings, config.residual_scale) for _ in range(config.generator_blocks)
        )

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Images (N, 3, S, S) -> content (N, width * S / b, b, b), b the bottleneck's side."""
        x = torch.relu_(instance_norm(self.stem(x), weights))
        for conv in self.down:
            x = torch.relu_(instance_norm(conv(x), weights))
        for block in self.blocks:
            x = block(x, weights)
        return x


class Decoder(nn.Module):
    """Styled residual blocks, then doublings by upsampling and 5x5 convolution, then 7x7 and tanh."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        width = config.generator_width * 2**config.halvings
        self.blocks = nn.ModuleList(StyledBlock(width, config.residual_scale) for _ in range(config.generator_blocks))
        self.up = nn.ModuleList(
            UpsampleConv(width // 2**level, width // 2 ** (level + 1)) for level in range(config.halvings)
        )
        self.out = ThinConv(config.generator_width, 3, 7, padding=3)
        ups = [width // 2 ** (level + 1) for level in range(config.halvings)]
        self.adain_channels = [width] * (2 * config.generator_blocks) + ups

    def forward(self, content: Tensor, numbers: Tensor, weights: Tensor | None = None) -> Tensor:
        """Content and the style MLP's output (N, 2 * sum of adain_channels) -> images (N, 3, S, S) in [-1, 1]."""
        styles = [(shift, scale) for shift, scale in _pairs(numbers, self.adain_channels)]
        x = content
        for level, block in enumerate(self.blocks):
            x = block(x, styles[2 * level], styles[2 * level + 1], weights)
        for conv, style in zip(self.up, styles[2 * len(self.blocks) :], strict=True):
            x = torch.relu_(adain(conv(x), *style, weights))
        return torch.tanh(self.out(x))


def _pairs(numbers: Tensor, channels: list[int]) -> list[tuple[Tensor, Tensor]]:
    parts = numbers.split([c for c in channels for _ in range(2)], dim=1)
    return list(zip(parts[0::2], parts[1::2], strict=True))


class Generator(nn.Module):
    """Content encoder, style MLP and decoder (Baek et al. 2021, section 3.2; widths as published at width 64)."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        self.encoder = ContentEncoder(config)
        self.decoder = Decoder(config)
        hidden = config.style_mlp_width
        self.mlp = nn.Sequential(
            nn.Linear(config.style_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * sum(self.decoder.adain_channels)),
        )
        init_kaiming(self)

    @torch.no_grad()
    def start_plain(self) -> None:
        """AdaIN near instance norm: scales around 1, shifts around 0 (docs/log.md, "G begins near plain")."""
        numbers = self.mlp[-1]
        assert isinstance(numbers, nn.Linear)
        numbers.weight.mul_(PLAIN_GAIN)
        for _, scale in _pairs(numbers.bias[None], self.decoder.adain_channels):
            scale.fill_(1.0)
        self.decoder.out.weight.mul_(PLAIN_GAIN)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The weights of its linear maps but for the ones that read or draw a picture, or make AdaIN's numbers."""
        ends = {id(part.weight) for part in (self.encoder.stem, self.decoder.out, self.mlp[-1])}
        return [p for p in self.parameters() if p.ndim >= 2 and id(p) not in ends]

    def encode(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """The content of images (N, 3, S, S), or of wide or high ones and their `square_weights`."""
        content: Tensor = self.encoder(x, weights)
        return content

    def decode(self, content: Tensor, style: Tensor, weights: Tensor | None = None) -> Tensor:
        """Content of N images, and the weights they were encoded with, in N style codes -> (N, 3, S, S) in [-1, 1]."""
        image: Tensor = self.decoder(content, self.mlp(style), weights)
        return image

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Images (N, 3, S, S) and style codes (N, style_dim) -> translations (N, 3, S, S)."""
        return self.decode(self.encode(x), style)
