"""evaluation/sampled.py: figures of sampled styles, computed again plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import halve, keeper
from untrained import untrained

from open_tunit import TUNIT, evaluate
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.features.extractors import own_features
from open_tunit.evaluation.sampled import sampled_codes
from open_tunit.evaluation.selection import select_pairs
from open_tunit.media.images import from_uint8
from open_tunit.metrics.distances import TooFewError
from open_tunit.settings.config import Data, Model

TWO = Model(size=32, domains=2, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)


@pytest.fixture
def images(split_folder: Path) -> torch.Tensor:
    """The test part (20, 3, 32, 32)."""
    dataset = open_dataset(Data(folder=str(split_folder)), size=32, seed=0)
    return from_uint8(np.asarray(dataset.images)[dataset.indices("test")])


def measured(model: TUNIT, x: torch.Tensor) -> TUNIT:
    """The model with two domains of half of the images each, whose styles are known."""
    halve(model, x)
    model.measure_domains([x])
    return model


def two_domains() -> TUNIT:
    torch.manual_seed(0)
    model = TUNIT(TWO).eval()
    with torch.no_grad():
        model.E.style_head.weight.normal_(std=3.0)
    return model


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet, by the root of the product's eigenvalues."""
    first, second = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * roots)


def test_the_distance_of_sampled_translations(split_folder: Path, images: torch.Tensor) -> None:
    model = measured(two_domains(), images)
    figures = evaluate(model, str(split_folder), seed=3)
    dataset = open_dataset(Data(folder=str(split_folder)), size=32, seed=3)
    selection, network = select_pairs(dataset, seed=3), own_features(model)
    domains = model.domains(images).argmax(dim=1).numpy()
    targets = domains[selection.references]
    used = dict.fromkeys(range(2), 0)
    drawn = []
    for source, target in zip(selection.sources, targets, strict=True):
        code = model.sample_styles(int(target), used[target] + 1, seed=3)[-1:]
        used[target] += 1
        drawn.append(model.redraw(images[[source]], code))
    expected = _distance(network(images).double().numpy(), network(torch.cat(drawn)).double().numpy())
    assert figures["frechet_distance_E_of_samples"] == pytest.approx(expected, rel=1e-3)
    low, high = figures["intervals"]["frechet_distance_E_of_samples"]
    assert low <= figures["frechet_distance_E_of_samples"] <= high


def test_diversity_of_samples_beside_that_of_real_references(split_folder: Path, images: torch.Tensor) -> None:
    """Where every sample is the mean style there is none; as many real references have theirs."""
    model = measured(two_domains(), images)
    figures = evaluate(model, str(split_folder), seed=3)
    assert 0.3 < figures["diversity_E_of_samples"] / figures["diversity_E_of_domain_references"] < 3
    assert model.domain_spreads is not None
    model.domain_spreads.mul_(3)
    wider = evaluate(model, str(split_folder), seed=3)
    assert wider["diversity_E_of_samples"] > 1.2 * figures["diversity_E_of_samples"]
    model.domain_spreads.zero_()
    flat = evaluate(model, str(split_folder), seed=3)
    assert flat["diversity_E_of_samples"] == pytest.approx(0, abs=1e-6)
    assert flat["diversity_E_of_domain_references"] == figures["diversity_E_of_domain_references"]


def test_references_are_of_the_samples_domain(split_folder: Path, images: torch.Tensor) -> None:
    """A model that draws the style code itself as flat colours: within a domain references are alike."""

    class Coloured(TUNIT):
        def redraw(self, source: Any, styles: torch.Tensor, *, strength: float = 1.0) -> torch.Tensor:
            return styles[:, :3, None, None].tanh().expand(-1, -1, 32, 32)

    torch.manual_seed(0)
    model = Coloured(TWO).eval()
    halve(model, images)
    domains = model.domains(images).argmax(dim=1)
    with torch.no_grad():
        head = model.E.style_head
        head.weight.copy_(100 * (model.E.domain_head.weight[:1] - model.E.domain_head.weight[1:]).expand(8, -1))
        head.bias.copy_(100 * (model.E.domain_head.bias[0] - model.E.domain_head.bias[1]).expand(8))
    model.take_domain_styles(model.style(images), domains)
    figures = evaluate(model, str(split_folder), seed=3)
    assert figures["diversity_E_of_domain_references"] < 0.2 * figures["diversity_E"]


def test_what_draws_no_style_has_no_diversity(split_folder: Path, images: torch.Tensor) -> None:
    model = keeper()
    model.take_domain_styles(model.style(images), model.domains(images).argmax(dim=1))
    figures = evaluate(model, str(split_folder))
    assert figures["diversity_E_of_samples"] == pytest.approx(0, abs=1e-9)


def test_a_model_without_spreads_is_told(split_folder: Path, images: torch.Tensor) -> None:
    figures = evaluate(untrained(), str(split_folder))
    assert not [name for name in figures if name.endswith("_of_samples")]
    assert any(line.startswith("sampled styles:") for line in figures["notes"])
    model = measured(two_domains(), images)
    model.domain_counts[1] = 0
    with pytest.raises(TooFewError):
        sampled_codes(model, np.array([0, 1]), 0)
    assert sampled_codes(model, np.array([0, 0]), 0).shape == (2, 8)
