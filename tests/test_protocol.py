"""evaluation/protocol.py: the figures of a model on a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import copier, keeper
from untrained import untrained

from open_tunit import evaluate
from open_tunit.data.dataset import Dataset, open_dataset, training_hashes
from open_tunit.evaluation.protocol import UNKNOWN, Asked
from open_tunit.evaluation.selection import select_pairs
from open_tunit.media.images import from_uint8
from open_tunit.metrics.distances import frechet_distance
from open_tunit.model_files.places import TRAINING_HASHES
from open_tunit.settings.config import Data


def _opened(folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(folder), labels="folders"), size=32, seed=0)


def test_a_model_of_one_domain_is_told(split_folder: Path) -> None:
    model = untrained()
    with torch.no_grad():
        model.E.domain_head.weight.zero_()
        model.E.domain_head.bias.copy_(torch.arange(model.config.domains))
    figures = evaluate(model, str(split_folder), seed=3)
    assert figures["pairs_of_different_domains"] == 0
    assert "domain_reached" not in figures
    assert "label_free_score" not in figures
    assert any(line.startswith("domain reached and label-free score: 0 pairs") for line in figures["notes"])
    assert any(line.startswith("20 of 20 images are in one domain") for line in figures["notes"])


def test_what_is_left_out_of_the_measured_images_is_told(split_folder: Path) -> None:
    (split_folder / "test" / "phone.heic").write_bytes(b"x")
    figures = evaluate(untrained(), str(split_folder), seed=3)
    assert figures["measured_images"] == 20
    assert any(note.startswith("1 left out: test/phone.heic is HEIC") for note in figures["notes"])


def test_a_folder_is_measured_the_same_twice(split_folder: Path) -> None:
    model = untrained()
    figures = evaluate(model, str(split_folder), seed=3)
    assert figures == evaluate(model, str(split_folder), seed=3)
    assert figures["measured_images"] == sum(figures["images_per_domain"]) == 20
    assert (figures["held_out"], figures["trained_on_images"]) == (False, None)
    assert UNKNOWN in figures["notes"]
    assert figures["pairs"] == figures["protocol"]["pairs"] == 80
    for name in ("reconstruction_error", "domain_reached", "cycle_error", "label_free_score"):
        assert 0 <= figures[name] <= 1
        low, high = figures["intervals"][name]
        assert low - 1e-9 <= figures[name] <= high + 1e-9
    assert "pseudo_label_accuracy" not in figures
    assert figures["protocol"]["domains"] == "pseudo labels"
    assert not any("left out" in note for note in figures["notes"])
    with_labels = evaluate(model, str(split_folder), labels="folders", seed=3)
    assert 0.5 <= with_labels["pseudo_label_accuracy"] <= 1
    assert "labels_fingerprint" not in figures["protocol"]
    known = open_dataset(Data(folder=str(split_folder), labels="folders"), size=32, seed=3)
    assert with_labels["protocol"]["labels_fingerprint"] == known.labels_fingerprint
    assert {"adjusted_rand_index", "normalized_mutual_information", "purity", "style_neighbour_accuracy"} <= set(
        with_labels
    )
    json.dumps(with_labels, allow_nan=False)


def test_what_copies_the_reference_is_found_out(split_folder: Path) -> None:
    model = copier(from_uint8(np.asarray(_opened(split_folder).images)))
    figures = evaluate(model, str(split_folder), labels="folders", asked=Asked(pairs=20))
    assert figures["domain_reached"] == 1
    assert figures["reconstruction_error"] == 0
    assert figures["frechet_distance_E"] == pytest.approx(0, abs=1e-9)
    assert (figures["precision_E"], figures["coverage_E"]) == (1, 1)
    assert figures["diversity_E"] > 0


def test_what_changes_nothing_has_the_unchanged_sources_figures(split_folder: Path) -> None:
    figures = evaluate(keeper(), str(split_folder), labels="folders")
    unchanged = figures["mean_frechet_distance_E_source_unchanged"]
    assert figures["mean_frechet_distance_E"] == pytest.approx(unchanged)
    assert unchanged > 0
    assert figures["mean_frechet_distance_E_pairs"] == 2
    assert (figures["cycle_error"], figures["diversity_E"]) == (0, pytest.approx(0, abs=1e-9))
    assert figures["pairs_of_different_domains"] > 0
    assert figures["domain_reached"] == figures["domain_reached_source_unchanged"] == 0
    assert figures["label_free_score"] == pytest.approx(figures["label_free_score_source_unchanged"], rel=1e-4)


def test_images_of_the_models_own_test_part_are_held_out(split_folder: Path) -> None:
    dataset, model = _opened(split_folder), untrained()
    model.about = {"data": {"fingerprint": dataset.fingerprint_v1}}  # a model of before hashes were stored
    assert evaluate(model, str(split_folder), asked=Asked(pairs=4))["held_out_images"] == 20
    model.about["data"][TRAINING_HASHES] = training_hashes(dataset)
    figures = evaluate(model, str(split_folder), asked=Asked(pairs=4))
    assert (figures["held_out_images"], figures["trained_on_images"]) == (20, 0)
    everything = evaluate(model, str(split_folder), asked=Asked(part="all", pairs=4))
    known = len(dataset.indices("train"))
    assert (everything["held_out"], everything["trained_on_images"]) == (False, known)


def test_the_mean_distance_over_pairs_of_domains_by_hand(split_folder: Path) -> None:
    dataset = _opened(split_folder)
    figures = evaluate(keeper(), str(split_folder), labels="folders")
    selection, model = select_pairs(dataset), keeper()
    labels = dataset.labels[selection.images]
    with torch.inference_mode():
        features = model.E.trunk(from_uint8(np.asarray(dataset.images[selection.images]))).mean(dim=(2, 3))
    distances = []
    for a, b in ((0, 1), (1, 0)):
        sources = selection.sources[(labels[selection.sources] == a) & (labels[selection.references] == b)]
        distances.append(frechet_distance(features[labels == b], features[sources]))
    assert figures["mean_frechet_distance_E"] == pytest.approx(np.mean(distances), rel=1e-4)


def test_too_few_images_are_said_and_the_rest_is_measured(picture_folder: Path) -> None:
    (picture_folder / "test").mkdir()
    for path in sorted(picture_folder.glob("disc_0[0-3].png")):
        path.rename(picture_folder / "test" / path.name)
    figures = evaluate(untrained(), str(picture_folder))
    assert figures["measured_images"] == 4
    assert any("4 real images; it needs at least 6" in line for line in figures["notes"])
    assert any("mean Fréchet distance over pairs of domains" in line for line in figures["notes"])
    assert "precision_E" not in figures
    assert math.isfinite(figures["frechet_distance_E"])
