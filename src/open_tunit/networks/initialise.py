"""How weights begin."""

from __future__ import annotations

from torch import nn

from open_tunit.networks.ops.upsampling import UpsampleConv


def init_kaiming(module: nn.Module, *, mode: str = "fan_in") -> None:
    """Kaiming normal weights (gain sqrt 2) and zero biases for every convolution and linear layer inside."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear, UpsampleConv)):
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
            if part.bias is not None:
                nn.init.zeros_(part.bias)
