"""The guiding network of a model: trained from scratch, or on a pretrained trunk."""

from __future__ import annotations

from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.settings.config import Model

Guide = GuidingNetwork | PretrainedGuiding


def guiding_network(config: Model) -> Guide:
    """E of these shapes, with fresh heads; a pretrained trunk is empty until weights are loaded into it."""
    if config.trunk == "vgg11":
        return GuidingNetwork(config)
    return PretrainedGuiding(
        config.domains, style_dim=config.style_dim, palette_dim=config.palette_dim, side=config.trunk_side
    )
