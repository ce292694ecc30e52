"""domain_styles.py: means and spreads of the domains' style codes, and styles sampled from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.covariance import ledoit_wolf
from untrained import SMALL, untrained

from open_tunit import TUNIT
from open_tunit.domain_styles import SPREADS, TYPICAL
from open_tunit.model_files.naming import Naming


def codes(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Style codes (N, 8) of three domains of unlike means and spreads, and the domains."""
    random = np.random.default_rng(0)
    domains = np.arange(count) % 3
    mixed = random.normal(size=(3, 8, 8))
    styles = np.einsum("nd,nde->ne", random.normal(size=(count, 8)), mixed[domains]) + 4 * domains[:, None]
    return torch.from_numpy(styles).float(), torch.from_numpy(domains)


@pytest.fixture
def model() -> TUNIT:
    found = untrained()
    found.take_domain_styles(*codes())
    return found


def test_means_and_spreads_against_scikit_learn(model: TUNIT) -> None:
    styles, domains = codes()
    assert model.domain_counts.tolist() == [20, 20, 20]
    assert model.domain_spreads is not None
    for domain in range(3):
        own = styles[domains == domain].double().numpy()
        np.testing.assert_allclose(model.domain_styles[domain].numpy(), own.mean(axis=0), rtol=1e-5, atol=1e-5)
        spread = model.domain_spreads[domain].double().numpy()
        np.testing.assert_allclose(spread @ spread, ledoit_wolf(own)[0], rtol=1e-3, atol=1e-3)


def test_samples_have_the_domains_mean_and_covariance(model: TUNIT) -> None:
    styles, domains = codes()
    expected, _ = ledoit_wolf(styles[domains == 1].double().numpy())
    samples = model.sample_styles(1, 40_000, seed=3).double().numpy()
    largest = np.abs(expected).max()
    np.testing.assert_allclose(samples.mean(axis=0), model.domain_styles[1].numpy(), atol=0.05 * largest**0.5)
    np.testing.assert_allclose(np.cov(samples.T), expected, atol=0.05 * largest)


def test_a_sample_follows_from_seed_domain_and_number_alone(model: TUNIT) -> None:
    several = model.sample_styles(0, 5, seed=2)
    assert torch.equal(model.sample_styles("0", 3, seed=2), several[:3])
    assert len(several.unique(dim=0)) == 5
    noise = several - model.domain_styles[0]
    assert model.domain_spreads is not None
    for other in (model.sample_styles(0, 5, seed=1), model.sample_styles(1, 5, seed=2)):
        assert not torch.isclose(other, several).any()
    seen = torch.linalg.solve(model.domain_spreads[0].double(), noise.double().T).T
    again = torch.linalg.solve(
        model.domain_spreads[1].double(), (model.sample_styles(1, 5, seed=2) - model.domain_styles[1]).double().T
    ).T
    assert (seen - again).abs().min() > 1e-3, "domains have noise of their own"


def test_what_cannot_be_sampled(model: TUNIT) -> None:
    for values, said in (
        ({"count": 0}, "samples is 0"),
        ({"count": 1, "seed": -1}, "seed is -1"),
        ({"domain": 3, "count": 1}, "domain is 3"),
    ):
        with pytest.raises(ValueError, match=said):
            model.sample_styles(**{"domain": 0} | values)  # type: ignore[arg-type]
    model.domain_counts[2] = 0
    with pytest.raises(ValueError, match="domain 2 has no typical style"):
        model.sample_styles(2, 1)


def test_a_domain_of_one_image_has_but_its_style() -> None:
    model, (styles, _) = untrained(), codes(3)
    model.take_domain_styles(styles, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(model.sample_styles(1, 2), styles[2].expand(2, -1))
    assert model.domain_counts.tolist() == [2, 1, 0]


def test_merged_domains_are_spread_as_all_their_images(model: TUNIT) -> None:
    assert model.domain_spreads is not None
    means, spreads = (value.double().numpy().copy() for value in (model.domain_styles, model.domain_spreads))
    model.domain_counts.copy_(torch.tensor([20, 7, 60]))
    alone = model.domain_spreads[1].clone()
    model.name_domains(Naming.of({"cat": [2, 0]}, 3))
    mean = (20 * means[0] + 60 * means[2]) / 80
    expected = np.zeros((8, 8))
    for part, share in ((0, 0.25), (2, 0.75)):
        expected += share * (spreads[part] @ spreads[part] + np.outer(means[part] - mean, means[part] - mean))
    found = model.domain_spreads[0].double().numpy()
    np.testing.assert_allclose(found @ found, expected, rtol=1e-4, atol=1e-3)
    assert torch.equal(model.domain_spreads[1], alone)
    assert torch.equal(model.sample_styles("cat", 2), model.sample_styles(2, 2))
    before = model.domain_spreads.clone()
    model.name_domains(model.naming)
    torch.testing.assert_close(model.domain_spreads, before, rtol=1e-4, atol=1e-4)


@pytest.fixture
def whitened() -> TUNIT:
    """A model whose typical styles are those of images."""
    found = untrained()
    found.take_domain_styles(*codes(), nearest=True)
    return found


def test_a_mean_is_typical_itself_unless_the_nearest_image_is_asked_for(model: TUNIT, whitened: TUNIT) -> None:
    styles, domains = codes()
    assert torch.equal(model.typical_styles, model.domain_styles)
    for domain in range(3):
        own = styles[domains == domain].double().numpy()
        nearest = np.square(own - own.mean(axis=0)).sum(axis=1).argmin()
        np.testing.assert_array_equal(whitened.domain_style(domain).numpy(), own[nearest].astype(np.float32))
    assert torch.equal(whitened.sample_styles(1, 2), model.sample_styles(1, 2))


def test_merged_domains_have_the_typical_style_of_the_largest(whitened: TUNIT) -> None:
    before = whitened.typical_styles.clone()
    whitened.domain_counts.copy_(torch.tensor([20, 7, 60]))
    for _ in range(2):
        whitened.name_domains(Naming.of({"cat": [2, 0]}, 3))
        assert torch.equal(whitened.domain_style("cat"), before[2])
        assert torch.equal(whitened.domain_style(1), before[1])


@pytest.mark.parametrize("half", [False, True])
def test_typical_styles_are_saved_with_the_model(whitened: TUNIT, model: TUNIT, tmp_path: Path, half: bool) -> None:
    for each, name in ((whitened, "whitened"), (model, "plain")):
        each.save_pretrained(tmp_path / name, half=half)
        found = TUNIT.from_pretrained(tmp_path / name).typical_styles
        torch.testing.assert_close(found, each.typical_styles, atol=0, rtol=1e-3 * half)
    assert TYPICAL not in safetensors.torch.load_file(tmp_path / "plain" / "model.safetensors")


@pytest.mark.parametrize("half", [False, True])
def test_spreads_are_saved_with_the_model(model: TUNIT, tmp_path: Path, half: bool) -> None:
    model.save_pretrained(tmp_path, half=half)
    loaded = TUNIT.from_pretrained(tmp_path)
    assert loaded.domain_spreads is not None
    assert loaded.domain_spreads.dtype == torch.float32
    torch.testing.assert_close(loaded.domain_spreads, model.domain_spreads, rtol=1e-3 * half, atol=1e-3 * half)
    torch.testing.assert_close(
        loaded.sample_styles(1, 2), model.sample_styles(1, 2), rtol=0.02 * half, atol=0.02 * half
    )


def test_a_folder_of_before_spreads_loads_and_says_what_it_lacks(model: TUNIT, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert stored.pop(SPREADS).shape == (SMALL.domains, SMALL.style_dim, SMALL.style_dim)
    safetensors.torch.save_file(stored, tmp_path / "model.safetensors")
    old = TUNIT.from_pretrained(tmp_path)
    x = torch.zeros(1, 3, 32, 32)
    assert torch.equal(old.translate(x, domain=1), model.translate(x, domain=1))
    with pytest.raises(ValueError, match="no spread to sample styles from"):
        old.translate(x, domain=1, samples=2)
    old.save_pretrained(tmp_path / "again")
    assert SPREADS not in safetensors.torch.load_file(tmp_path / "again" / "model.safetensors")


def test_measured_domains_can_be_named(picture_folder: Path) -> None:
    model = untrained()
    model.measure_domains([model.squares(sorted(picture_folder.iterdir()))])
    model.name_domains(Naming.of({"cat": [0, 1]}, 3))
    assert model.sample_styles("cat", 2).isfinite().all()


def test_a_trained_model_knows_its_spreads(tiny_run: Path) -> None:
    model = TUNIT.from_pretrained(tiny_run / "model")
    assert model.domain_typical is None, "E was trained here: its means are typical"
    filled = next(k for k in range(model.config.domains) if model.domain_counts[k] > 1)
    assert model.sample_styles(filled, 3).std(dim=0).min() > 0
