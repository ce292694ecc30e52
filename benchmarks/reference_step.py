"""The published joint training step, written plainly from the paper and its description: what ours is measured against.

E's trunk runs ten times, G's encoder twice and its decoder three times, D four times; float32, contiguous, eager;
upsampling, then a 5x5 convolution; D's weights get gradients in G's step too. It reads the values of our networks and
nothing of our forward passes, losses or step. Hinge loss and mutual information, no labels.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.settings.config import Model

TEMPERATURE = 0.07
QUEUE = 1024
AVERAGE_DECAY = 0.999
POOL_AFTER = (1, 2, 4, 6, 8)
"""Convolutions of E that a pool follows."""


class Reference:
    """The state of the published step, and the step; begins with the values of E, G and D."""

    def __init__(self, E: nn.Module, G: nn.Module, D: nn.Module, model: Model, keys: Tensor) -> None:
        self.model, self.keys = model, keys
        self.E, self.G, self.D = Values(E), Values(G), Values(D)
        self.E_ema, self.G_ema = copy.deepcopy(self.E), copy.deepcopy(self.G)
        self.opt_E = torch.optim.Adam(self.E.parameters(), lr=1e-4, weight_decay=1e-3)
        self.opt_G, self.opt_D = (
            torch.optim.RMSprop(network.parameters(), lr=1e-4, alpha=0.99, weight_decay=1e-4)
            for network in (self.G, self.D)
        )

    def step(self, x: Tensor, x_plus: Tensor, permutation: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """One joint step on images (N, 3, S, S) and their augmented views; returns the unweighted terms.

        With `labels` (N,) the supervised step: they are the domains, and no domains are sought.
        """
        terms, keys = self._update_E(x, x_plus, seek_domains=labels is None)
        references = x[permutation]
        with torch.no_grad():
            domains = logits(self.E, x).argmax(dim=1) if labels is None else labels
        reference_domains = domains[permutation]
        terms |= self._update_D(x, references, reference_domains)
        terms |= self._update_G(x, references, domains, reference_domains)
        self.keys = torch.cat([self.keys, keys])[-QUEUE:]
        for average, network in ((self.E_ema, self.E), (self.G_ema, self.G)):
            with torch.no_grad():
                for old, new in zip(average.parameters(), network.parameters(), strict=True):
                    old.copy_(AVERAGE_DECAY * old + (1 - AVERAGE_DECAY) * new)
        return {name: value.detach() for name, value in terms.items()}

    def _update_E(self, x: Tensor, x_plus: Tensor, *, seek_domains: bool) -> tuple[dict[str, Tensor], Tensor]:
        with torch.no_grad():
            keys = style(self.E_ema, x_plus)
        terms = {"style_contrast": info_nce(style(self.E, x), keys, self.keys)}
        total = terms["style_contrast"]
        if seek_domains:
            terms["mutual_information"] = mutual_information(logits(self.E, x), logits(self.E, x_plus))
            total = total + 5 * terms["mutual_information"]
        self.opt_E.zero_grad()
        (0.1 * total).backward()
        self.opt_E.step()
        return terms, keys

    def _update_D(self, x: Tensor, references: Tensor, domains: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            fakes = self._decode(self._encode(x), style(self.E, references))
        references = references.detach().requires_grad_()
        real = at(judge(self.D, references), domains)
        fake = at(judge(self.D, fakes), domains)
        (gradient,) = torch.autograd.grad(real.sum(), references, create_graph=True)
        terms = {
            "d_real": F.relu(1 - real).mean(),
            "d_fake": F.relu(1 + fake).mean(),
            "r1": gradient.pow(2).sum(dim=(1, 2, 3)).mean(),
        }
        self.opt_D.zero_grad()
        (terms["d_real"] + terms["d_fake"] + 10 * terms["r1"]).backward()
        self.opt_D.step()
        return terms

    def _update_G(self, x: Tensor, references: Tensor, domains: Tensor, reference_domains: Tensor) -> dict[str, Tensor]:
        content = self._encode(x)
        translation = self._decode(content, style(self.E, references))
        redrawn = self._decode(content, style(self.E, x))
        with torch.no_grad():
            keys = style(self.E_ema, references)
        terms = {
            "g_translation": -at(judge(self.D, translation), reference_domains).mean(),
            "g_reconstruction": -at(judge(self.D, redrawn), domains).mean(),
            "reconstruction": (redrawn - x).abs().mean(),
            "translation_style": info_nce(style(self.E, translation), keys, self.keys),
        }
        self.opt_G.zero_grad()
        self.opt_E.zero_grad()
        adversarial = terms["g_translation"] + terms["g_reconstruction"]
        (adversarial + 0.1 * terms["reconstruction"] + 0.01 * terms["translation_style"]).backward()
        self.opt_G.step()
        self.opt_E.step()
        return terms

    def _encode(self, x: Tensor) -> Tensor:
        return encode(self.G, x, self.model)

    def _decode(self, content: Tensor, code: Tensor) -> Tensor:
        return decode(self.G, content, code, self.model)


class Values(nn.Module):
    """A network's parameters and buffers by their names, without its forward pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.named = nn.ParameterDict()
        for name, value in network.named_parameters():
            self.named[name.replace(".", "/")] = nn.Parameter(
                value.detach().clone(memory_format=torch.contiguous_format)
            )

    def __getitem__(self, name: str) -> Tensor:
        value: Tensor = self.named[name.replace(".", "/")]
        return value

    def __contains__(self, name: str) -> bool:
        return name.replace(".", "/") in self.named


def at(outputs: Tensor, domains: Tensor) -> Tensor:
    return outputs[torch.arange(len(outputs), device=outputs.device), domains]


def trunk(E: Values, x: Tensor) -> Tensor:
    """VGG-11 with batch norm, statistics of the batch."""
    layer = 0
    for convolution in range(1, POOL_AFTER[-1] + 1):
        x = F.conv2d(x, E[f"trunk.{layer}.weight"], E[f"trunk.{layer}.bias"], padding=1)
        x = F.batch_norm(x, None, None, E[f"trunk.{layer + 1}.weight"], E[f"trunk.{layer + 1}.bias"], training=True)
        x, layer = F.relu(x), layer + 3
        if convolution in POOL_AFTER:
            x, layer = F.max_pool2d(x, 2), layer + 1
    return x.mean(dim=(2, 3))


def style(E: Values, x: Tensor) -> Tensor:
    return F.linear(trunk(E, x), E["style_head.weight"], E["style_head.bias"])


def logits(E: Values, x: Tensor) -> Tensor:
    return F.linear(trunk(E, x), E["domain_head.weight"], E["domain_head.bias"])


def reflected(w: Values, name: str, x: Tensor, padding: int, stride: int = 1) -> Tensor:
    return F.conv2d(F.pad(x, (padding,) * 4, mode="reflect"), w[f"{name}.weight"], w[f"{name}.bias"], stride=stride)


def encode(G: Values, x: Tensor, model: Model) -> Tensor:
    x = F.relu(F.instance_norm(reflected(G, "encoder.stem", x, 3)))
    for level in range(model.halvings):
        x = F.relu(F.instance_norm(reflected(G, f"encoder.down.{level}", x, 1, stride=2)))
    for block in range(model.generator_blocks):
        y = F.relu(F.instance_norm(reflected(G, f"encoder.blocks.{block}.conv1", x, 1)))
        x = x + 0.1 * F.instance_norm(reflected(G, f"encoder.blocks.{block}.conv2", y, 1))
    return x


def decode(G: Values, content: Tensor, code: Tensor, model: Model) -> Tensor:
    numbers = code
    for layer in (0, 2, 4):
        numbers = F.linear(numbers, G[f"mlp.{layer}.weight"], G[f"mlp.{layer}.bias"])
        numbers = F.relu(numbers) if layer < 4 else numbers
    place = 0

    def styled(y: Tensor) -> Tensor:
        nonlocal place
        shift, scale = (numbers[:, place + k * y.shape[1] :][:, : y.shape[1], None, None] for k in (0, 1))
        place += 2 * y.shape[1]
        return scale * F.instance_norm(y) + shift

    x = content
    for block in range(model.generator_blocks):
        y = F.relu(styled(reflected(G, f"decoder.blocks.{block}.conv1", x, 1)))
        x = x + 0.1 * styled(reflected(G, f"decoder.blocks.{block}.conv2", y, 1))
    for level in range(model.halvings):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.relu(styled(reflected(G, f"decoder.up.{level}", x, 2)))
    return torch.tanh(reflected(G, "decoder.out", x, 3))


def judge(D: Values, x: Tensor) -> Tensor:
    x = F.conv2d(x, D["stem.weight"], D["stem.bias"], padding=1)
    block = 0
    while f"blocks.{block}.conv1.weight" in D:
        x = residual_block(D, f"blocks.{block}", x, halve=block % 2 == 1)
        block += 1
    x = F.leaky_relu(F.conv2d(F.leaky_relu(x, 0.2), D["collapse.weight"], D["collapse.bias"]), 0.2)
    return F.conv2d(x, D["heads.weight"], D["heads.bias"]).flatten(1)


def residual_block(D: Values, name: str, x: Tensor, *, halve: bool) -> Tensor:
    shortcut = F.conv2d(x, D[f"{name}.shortcut.weight"]) if f"{name}.shortcut.weight" in D else x
    y = F.conv2d(frn(D, f"{name}.norm1", x), D[f"{name}.conv1.weight"], D[f"{name}.conv1.bias"], padding=1)
    if halve:
        shortcut, y = F.avg_pool2d(shortcut, 2), F.avg_pool2d(y, 2)
    y = F.conv2d(frn(D, f"{name}.norm2", y), D[f"{name}.conv2.weight"], D[f"{name}.conv2.bias"], padding=1)
    return (shortcut + y) / math.sqrt(2)


def frn(D: Values, name: str, x: Tensor) -> Tensor:
    x = x * torch.rsqrt(x.pow(2).mean(dim=(2, 3), keepdim=True) + 1e-6)
    return torch.max(D[f"{name}.gamma"] * x + D[f"{name}.beta"], D[f"{name}.tau"])


def info_nce(query: Tensor, key: Tensor, negatives: Tensor) -> Tensor:
    scores = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ negatives.T], dim=1) / TEMPERATURE
    return F.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long, device=query.device))


def mutual_information(one: Tensor, other: Tensor) -> Tensor:
    joint = one.softmax(dim=1).T @ other.softmax(dim=1)
    joint = (joint + joint.T) / 2
    joint = joint / joint.sum()
    rows, columns = joint.sum(dim=1, keepdim=True).clamp(min=1e-10), joint.sum(dim=0, keepdim=True).clamp(min=1e-10)
    joint = joint.clamp(min=1e-10)
    return -(joint * (joint.log() - rows.log() - columns.log())).sum()
