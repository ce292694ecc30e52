"""Classifiers for the built-in set: a small supervised network with a head for the species and each content factor."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from open_tunit.data import critters
from open_tunit.evaluation.tensor_cache import keep, read_kept
from open_tunit.media import images

VERSION = 1
"""Raise it when the network or its training changes: kept classifiers of another version are not used."""
CLASSIFIER_SEED = 9001
"""Seed of the critters that classifiers are trained on: no run is trained or measured on it."""
TRAINING_CRITTERS, HELD_OUT_CRITTERS = 8000, 1000
EPOCHS, BATCH, LEARNING_RATE = 10, 64, 2e-3
SPECIES = "species"
WHAT = "classifiers"


class _Network(nn.Module):
    def __init__(self, size: int, levels: dict[str, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        while size > 4:
            width = min(max(24, 2 * channels), 96)
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels, size = width, size // 2
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, 128), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, count) for name, count in levels.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {name: head(features) for name, head in self.heads.items()}


@dataclasses.dataclass(frozen=True)
class Classifiers:
    """One classifier per factor; `accuracy` is each one's own, on real critters that it was not trained on."""

    network: nn.Module
    accuracy: dict[str, float]

    @torch.inference_mode()
    def levels(self, x: Tensor) -> dict[str, np.ndarray]:
        """The most likely level of each factor in images (N, 3, S, S) in [-1, 1]: factor -> (N,) levels."""
        parts = [self.network(part) for part in x.cpu().split(256)]
        return {name: torch.cat([p[name] for p in parts]).argmax(dim=1).numpy() for name in parts[0]}


def open_classifiers(*, species: int, size: int, cache_root: Path) -> Classifiers:
    """The classifiers of `train_classifiers`, from the cache or trained and kept there.

    The key is made of VERSION, the hash of the drawings, species, size and the version of PyTorch. A damaged entry is
    trained again, with a warning; a cache that cannot be written is not used.
    """
    path = cache_root / WHAT / f"{_key(species, size)}.safetensors"
    kept = read_kept(path, WHAT)
    if kept is not None:
        network = _Network(size, _levels(species))
        network.load_state_dict(kept[0])
        return Classifiers(network.eval(), json.loads(kept[1]["accuracy"]))
    trained = train_classifiers(species=species, size=size)
    keep(path, trained.network.state_dict(), WHAT, {"accuracy": json.dumps(trained.accuracy)})
    return trained


def train_classifiers(*, species: int, size: int, seed: int = CLASSIFIER_SEED) -> Classifiers:
    """Classifiers for the first `species` species at `size` px: about half a minute on two cores at 32 px."""
    levels = _levels(species)
    x, truth = _drawn(range(TRAINING_CRITTERS), species, size, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(size, levels)
        _fit(network, x, truth)
    network.eval()
    held_out, answers = _drawn(range(TRAINING_CRITTERS, TRAINING_CRITTERS + HELD_OUT_CRITTERS), species, size, seed)
    predicted = Classifiers(network, {}).levels(held_out)
    return Classifiers(network, {name: float((predicted[name] == answers[name].numpy()).mean()) for name in levels})


def truth_of(drawn: list[critters.Critter]) -> dict[str, Tensor]:
    """Factor -> (N,) true levels."""
    rows = [{SPECIES: critter.species, **dataclasses.asdict(critter.content)} for critter in drawn]
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def _levels(species: int) -> dict[str, int]:
    return {SPECIES: species, **critters.CONTENT_LEVELS}


def _key(species: int, size: int) -> str:
    values = [VERSION, critters.DRAWING, species, size, torch.__version__]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _drawn(indices: range, species: int, size: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    chosen = [critters.critter(seed, index, species=species) for index in indices]
    pixels = np.stack([critters.draw(critter, size) for critter in chosen])
    return images.from_uint8(torch.from_numpy(pixels)), truth_of(chosen)


def _fit(network: _Network, x: Tensor, truth: dict[str, Tensor]) -> None:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last)  # a third less time on a CPU
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            logits = network(x[chosen])
            loss = torch.stack([F.cross_entropy(logits[name], truth[name][chosen]) for name in logits]).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
