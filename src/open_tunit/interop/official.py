"""Checkpoints of the published implementation, read into our networks.

A published checkpoint is a pickled dict with C (E here), C_EMA, G, G_EMA and D state dicts; after multi-GPU
training every name starts with `module.`. Only tensors and plain values are unpickled.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from open_tunit.model import TUNIT
from open_tunit.networks.discriminator import Discriminator
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.settings.config import SIZES, Model
from open_tunit.settings.config import Discriminator as DiscriminatorShape

StateDict = Mapping[str, Tensor]


class NotACheckpointError(ValueError):
    """The file is not a published TUNIT checkpoint; the message names it and what is wrong."""


def load_official(path: str | os.PathLike[str], image_size: int | None = None, *, averaged: bool = True) -> TUNIT:
    """E and G of a published checkpoint as a TUNIT.

    `image_size` in pixels is inferred from the discriminator's names when not given. `averaged` takes the EMA
    copies (what the authors use), else the raw ones. A checkpoint has no typical styles: the model has none. Pictures
    are squashed to squares, as in its training.
    Raises FileNotFoundError, NotACheckpointError.
    """
    checkpoint = _read(path)
    config, _ = _shapes(checkpoint, path, image_size)
    suffix = "_EMA_state_dict" if averaged else "_state_dict"
    model = TUNIT(config, fit="squash")
    _load(model.E, guiding_names(config), checkpoint["C" + suffix], path)
    _load(model.G, generator_names(config), checkpoint["G" + suffix], path)
    return model.eval()


def load_official_discriminator(path: str | os.PathLike[str], image_size: int | None = None) -> Discriminator:
    """D of a published checkpoint; arguments and errors as for `load_official`."""
    checkpoint = _read(path)
    config, shape = _shapes(checkpoint, path, image_size)
    network = Discriminator(config, shape)
    _load(network, discriminator_names(config, shape), checkpoint["D_state_dict"], path)
    return network.eval()


def guiding_names(config: Model) -> dict[str, str]:
    """Our name -> published name, for every entry of E's state dict."""
    names: dict[str, str] = {}
    for index, layer in enumerate(GuidingNetwork(config).trunk):
        names |= {f"trunk.{index}.{key}": f"features.{index}.{key}" for key in layer.state_dict()}
    for ours, theirs in (("domain_head", "disc"), ("style_head", "cont")):
        names |= {f"{ours}.{key}": f"{theirs}.{key}" for key in ("weight", "bias")}
    return names


def generator_names(config: Model) -> dict[str, str]:
    """Our name -> published name, for every entry of G's state dict."""
    n, blocks = config.halvings, config.generator_blocks
    convs = {"encoder.stem": "cnt_encoder.model.0", "decoder.out": f"decoder.model.{2 * n + 1}"}
    convs |= {f"encoder.down.{i}": f"cnt_encoder.model.{i + 1}" for i in range(n)}
    convs |= {f"decoder.up.{i}": f"decoder.model.{2 * i + 2}" for i in range(n)}
    for block in range(blocks):
        for conv in range(2):
            inner = f"model.{block}.model.{conv}"
            convs[f"encoder.blocks.{block}.conv{conv + 1}"] = f"cnt_encoder.model.{n + 1}.{inner}"
            convs[f"decoder.blocks.{block}.conv{conv + 1}"] = f"decoder.model.0.{inner}"
    names = {f"{ours}.{key}": f"{theirs}.conv.{key}" for ours, theirs in convs.items() for key in ("weight", "bias")}
    for layer in range(3):
        names |= {f"mlp.{2 * layer}.{key}": f"mlp.model.{layer}.fc.{key}" for key in ("weight", "bias")}
    return names


def discriminator_names(config: Model, shape: DiscriminatorShape) -> dict[str, str]:
    """Our name -> published name, for every entry of D's state dict."""
    network = Discriminator(config, shape)
    last = len(network.blocks)
    modules = {"stem": "main.0", "collapse": f"main.{last + 2}", "heads": f"main.{last + 4}"}
    names = {f"{ours}.{key}": f"{theirs}.{key}" for ours, theirs in modules.items() for key in ("weight", "bias")}
    for key in network.blocks.state_dict():
        index, _, rest = key.partition(".")
        names[f"blocks.{key}"] = f"main.{int(index) + 1}.{rest.replace('shortcut', 'conv1x1')}"
    return names


def renamed(state: StateDict, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The published state dict under our names; unused published buffers are left out. Raises KeyError."""
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    return {ours: plain[theirs] for ours, theirs in names.items()}


def _load(network: torch.nn.Module, names: Mapping[str, str], state: StateDict, path: str | os.PathLike[str]) -> None:
    try:
        network.load_state_dict(renamed(state, names))
    except (KeyError, RuntimeError, AttributeError, TypeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise NotACheckpointError(f"{path} does not fit the published networks: {detail}") from error


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a published checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # on damaged bytes torch's readers raise nearly anything
        raise NotACheckpointError(
            f"{path} is not a checkpoint of tensors and plain values; nothing in it was run"
        ) from error
    needed = [f"{name}_state_dict" for name in ("C", "C_EMA", "D", "G", "G_EMA")]
    missing = [name for name in needed if not isinstance(checkpoint, dict) or name not in checkpoint]
    if missing:
        raise NotACheckpointError(f"{path} lacks {', '.join(missing)}; expected a published checkpoint")
    return dict(checkpoint)


def _shapes(
    checkpoint: Mapping[str, Any], path: str | os.PathLike[str], image_size: int | None
) -> tuple[Model, DiscriminatorShape]:
    """Sizes and widths, read off the checkpoint's shapes."""
    try:
        E = {name.removeprefix("module."): value.shape for name, value in checkpoint["C_state_dict"].items()}
        D = {name.removeprefix("module."): value.shape for name, value in checkpoint["D_state_dict"].items()}
        G = {name.removeprefix("module."): value.shape for name, value in checkpoint["G_state_dict"].items()}
        blocks = {int(m[1]) for name in D if (m := re.match(r"main\.(\d+)\.conv1\.weight", name))}
        size = 2 ** (len(blocks) // 2 + 2)
        domains, style_dim = E["disc.weight"][0], E["cont.weight"][0]
        width, d_width = G["cnt_encoder.model.0.conv.weight"][0], D["main.0.weight"][0]
        hidden, guiding_width = G["mlp.model.0.fc.weight"][0], E["features.0.weight"][0]
    except (KeyError, AttributeError, IndexError) as error:
        raise NotACheckpointError(f"{path} does not hold the published networks: no {error}") from error
    if size not in SIZES:
        raise NotACheckpointError(f"{path} has a discriminator for {size} px; expected one of {SIZES}")
    if image_size is not None and image_size != size:
        raise NotACheckpointError(f"{path} was trained at {size} px, not at {image_size}")
    model = Model(
        size=size,
        domains=domains,
        style_dim=style_dim,
        guiding_width=guiding_width,
        generator_width=width,
        style_mlp_width=hidden,
    )
    return model, DiscriminatorShape(width=d_width)
