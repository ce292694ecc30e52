"""evaluation/translations.py: what is measured of each image and pair, and how often the networks run for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from counted import counted
from tiny import copier, keeper

from open_tunit import TUNIT
from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.features.feature_cache import pictures
from open_tunit.evaluation.selection import Selection, select_pairs
from open_tunit.evaluation.translations import (
    DIVERSE_REFERENCES,
    DIVERSE_SOURCES,
    Translations,
    diversities,
    encode_images,
    translate_pairs,
    validate,
)
from open_tunit.settings.config import Data

COLOURS = FeatureNetwork("colours", "as they are", "none", lambda pixels: pixels.mean(dim=(2, 3)))


@pytest.fixture
def dataset(picture_folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(picture_folder)), size=32, seed=0)


@pytest.fixture
def selection(dataset: Dataset) -> Selection:
    return select_pairs(dataset, part="all", pairs=40)


def test_E_runs_once_per_image_and_once_per_translation(
    random_model: TUNIT, dataset: Dataset, selection: Selection
) -> None:
    images, pairs = len(selection.images), len(selection.sources)
    with counted(random_model) as passes:
        encoded = encode_images(random_model, dataset, selection)
    assert passes == {"E": images, "encoder": images, "decoder": images}
    with counted(random_model) as passes:
        translate_pairs(random_model, dataset, selection, encoded, COLOURS)
    assert passes == {"E": pairs, "encoder": 2 * pairs, "decoder": 2 * pairs}
    sources = min(DIVERSE_SOURCES, images)
    with counted(random_model) as passes:
        diversities(random_model, dataset, selection, encoded, COLOURS, torch.zeros(images, 3))
    assert passes == {"E": 0, "encoder": sources, "decoder": sources * DIVERSE_REFERENCES}


def test_style_codes_that_are_kept_measure_what_pictures_measure(
    random_model: TUNIT, dataset: Dataset, selection: Selection
) -> None:
    """Every figure as `translate` gives it, which encodes each reference anew."""
    x = pictures(dataset, selection.images)
    encoded = encode_images(random_model, dataset, selection)
    probabilities = random_model.domains(x)
    np.testing.assert_array_equal(encoded.domains, probabilities.argmax(dim=1))
    torch.testing.assert_close(encoded.styles, random_model.style(x))
    np.testing.assert_allclose(encoded.reconstruction, _error(random_model.translate(x, x), x), rtol=1e-5)

    made = translate_pairs(random_model, dataset, selection, encoded, COLOURS)
    source, reference = x[selection.sources], x[selection.references]
    translation = random_model.translate(source, reference)
    reached = random_model.domains(translation)
    target = encoded.domains[selection.references]
    np.testing.assert_allclose(made.certainty, reached[range(40), target], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(made.reached, reached.argmax(dim=1) == torch.as_tensor(target))
    np.testing.assert_allclose(made.cycle_error, _error(random_model.translate(translation, source), source), rtol=1e-5)
    np.testing.assert_allclose(made.distance, _error(reference, source), rtol=1e-5)
    torch.testing.assert_close(made.features, COLOURS(translation))


def test_the_diversity_of_references_is_that_of_real_features(
    random_model: TUNIT, dataset: Dataset, selection: Selection
) -> None:
    encoded = encode_images(random_model, dataset, selection)
    same = torch.ones(len(selection.images), 3)
    translated, given = diversities(random_model, dataset, selection, encoded, COLOURS, same)
    assert translated.shape == given.shape == (len(selection.images),)
    assert float(given.abs().max()) == pytest.approx(0, abs=1e-12)
    assert float(translated.min()) > 0


def test_a_score_is_certainty_times_the_kept_share() -> None:
    made = Translations(
        certainty=np.array([1.0, 0.5, 1.0, 1.0]),
        reached=np.array([True, False, True, True]),
        cycle_error=np.array([0.0, 0.1, 0.9, 0.0]),
        distance=np.array([0.1, 0.2, 0.3, 9.0]),
        different=np.array([True, True, True, False]),
        certainty_unchanged=np.zeros(4),
        features=None,
    )
    np.testing.assert_allclose(made.scores()[:3], [1, 0.25, 0])


def test_validation_counts_pairs_of_different_domains(dataset: Dataset) -> None:
    """A model that changes nothing has a score near nothing, one that copies references a high certainty."""
    watched = dataclasses.replace(dataset, split=np.full(len(dataset.files), "val"))
    unchanged = validate(keeper(), watched)
    assert unchanged == validate(keeper(), watched)
    assert (unchanged["domain_reached"], unchanged["cycle_error"]) == (0, 0)
    copied = validate(copier(pictures(dataset, np.arange(len(dataset.files)))), watched)
    assert copied["domain_reached"] == 1
    assert 0 < unchanged["score"] < 1


def test_without_validation_images_there_is_no_score(random_model: TUNIT, dataset: Dataset) -> None:
    assert validate(random_model, dataclasses.replace(dataset, split=np.full(len(dataset.files), "train"))) == {}


def _error(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (a - b).abs().mean(dim=(1, 2, 3)).double().numpy() / 2
