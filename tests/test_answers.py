"""evaluation/ground_truth/answers.py: figures on critters against their true answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from open_tunit import TUNIT, Config, evaluate
from open_tunit.data import critters
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.ground_truth.classifiers import Classifiers, truth_of
from open_tunit.evaluation.run import evaluate_run
from open_tunit.evaluation.selection import select_pairs
from open_tunit.media.images import from_uint8
from open_tunit.model_files.naming import Naming
from open_tunit.networks.guiding import Guidance
from open_tunit.settings.config import Data, Model

COUNT, SPECIES, SIZE = 40, 3, 32
FOLDER = f"critters:{SPECIES}"


class _Oracle(nn.Module):
    """Classifiers that find the levels of the nearest of the drawings they were given."""

    def __init__(self, shown: Tensor, drawn: list[critters.Critter]) -> None:
        super().__init__()
        self.shown, self.levels = shown.flatten(1), truth_of(drawn)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        nearest = torch.cdist(x.flatten(1), self.shown).argmin(dim=1)
        return {name: nn.functional.one_hot(levels[nearest]) for name, levels in self.levels.items()}


class _Stub:
    """A model with the given translations and pseudo labels of `shown` pictures."""

    def __init__(self, shown: Tensor, translations: Tensor, domains: Tensor) -> None:
        self.config, self.naming = Model(size=SIZE, domains=SPECIES), Naming.plain(SPECIES)
        self.domain_styles = torch.zeros(SPECIES, 1)
        self.shown, self.translations, self.pseudo = shown.flatten(1), translations, domains

    def redraw(self, source: Tensor, styles: Tensor) -> Tensor:
        assert len(source) == len(styles) == len(self.translations)
        return self.translations

    def E(self, x: Tensor) -> Guidance:
        found = self.pseudo[torch.cdist(x.flatten(1), self.shown).argmin(dim=1)]
        return Guidance(nn.functional.one_hot(found, SPECIES).float(), x.new_zeros(len(x), 1), x.new_zeros(len(x), 0))


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> truth.Pairs:
    """A few pairs, and perfect classifiers for their sources, references and answers."""
    monkeypatch.setattr(truth, "CRITTERS_TEST", COUNT)
    pairs = truth.held_out_pairs(FOLDER, size=SIZE, seed=7)
    answers = [critters.true_answer(s, r) for s, r in zip(pairs.sources, pairs.references, strict=True)]
    oracle = _Oracle(torch.cat([pairs.answer, pairs.source]), [*answers, *pairs.sources])
    accuracy = dict.fromkeys(("species", *critters.CONTENT_LEVELS), 1.0)
    monkeypatch.setattr(truth, "open_classifiers", lambda *, species, size, cache_root: Classifiers(oracle, accuracy))
    return pairs


def _measured(pairs: truth.Pairs, answers: Tensor) -> dict[str, Any]:
    species = torch.tensor([critter.species for critter in pairs.sources])
    stub = _Stub(pairs.source, answers, (species + 1) % SPECIES)
    return truth.measure(cast(TUNIT, stub), FOLDER, seed=7, cache_root=Path())[0]


def test_held_out_pairs_are_what_they_are_called(pairs: truth.Pairs) -> None:
    assert pairs.source.shape == pairs.reference.shape == pairs.answer.shape == (COUNT, 3, SIZE, SIZE)
    for index in (0, COUNT - 1):
        for pictures, critter in ((pairs.source, pairs.sources[index]), (pairs.reference, pairs.references[index])):
            assert torch.equal(pictures[index], from_uint8(critters.draw(critter, SIZE)[None])[0])
        answer = critters.true_answer(pairs.sources[index], pairs.references[index])
        assert answer.species == pairs.references[index].species
        assert answer.content == pairs.sources[index].content
        heads = [critters.head_mask(critter, SIZE) for critter in (pairs.sources[index], answer)]
        np.testing.assert_array_equal(pairs.head[index, 0].numpy(), np.maximum(*heads))
    assert sorted(map(repr, pairs.sources)) == sorted(map(repr, pairs.references))
    assert pairs.sources != pairs.references


def test_true_answers_make_no_error(pairs: truth.Pairs) -> None:
    figures = _measured(pairs, pairs.answer)
    assert figures["true_answer_error_ratio"] == figures["true_answer_error_ratio_head"] == 0
    assert (figures["species_reached"], figures["content_kept"]) == (1, 1)
    assert (figures["pattern_taken"], figures["pattern_kept"]) == (1, 0)
    assert figures["pseudo_label_accuracy"] == 1


def test_unchanged_sources_are_the_unit(pairs: truth.Pairs) -> None:
    figures = _measured(pairs, pairs.source)
    assert figures["true_answer_error_ratio"] == figures["true_answer_error_ratio_head"] == 1
    assert figures["species_reached"] == figures["species_reached_source_unchanged"] == 0
    assert figures["pattern_taken"] == figures["pattern_taken_source_unchanged"] == 0
    assert figures["pattern_kept"] == figures["pattern_kept_source_unchanged"] == 1
    assert figures["content_kept"] == 1


def test_species_and_patterns_are_counted_over_pairs_of_different_species(pairs: truth.Pairs) -> None:
    """Right on all pairs of one species and wrong on the others, as an unchanged source is, counts nothing."""
    different = torch.as_tensor(pairs.different())
    assert 0 < different.float().mean() < 1
    mixed = torch.where(different[:, None, None, None], pairs.source, pairs.answer)
    figures = _measured(pairs, mixed)
    assert (figures["species_reached"], figures["pattern_taken"]) == (0, 0)


def test_errors_by_hand(pairs: truth.Pairs) -> None:
    figures = _measured(pairs, pairs.reference)
    source, reference, answer = (part.double().numpy() for part in (pairs.source, pairs.reference, pairs.answer))
    unchanged = np.abs(source - answer).mean()
    assert figures["source_unchanged_error"] == pytest.approx(unchanged, rel=1e-5)
    ratio = np.abs(reference - answer).mean() / unchanged
    assert figures["true_answer_error_ratio"] == figures["baseline_reference_copied"] == pytest.approx(ratio, rel=1e-5)
    head = pairs.head.double().numpy()
    on_head = [(np.abs(guess - answer) * head).sum() for guess in (reference, source)]
    assert figures["true_answer_error_ratio_head"] == pytest.approx(on_head[0] / on_head[1], rel=1e-5)
    assert 0 < figures["baseline_background_recoloured"] < 1


def test_inaccurate_classifiers_are_left_out(pairs: truth.Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    classifiers = truth.open_classifiers(species=SPECIES, size=SIZE, cache_root=Path())
    weak, *strong = critters.CONTENT_LEVELS
    classifiers.accuracy[weak] = 0.5
    monkeypatch.setattr(truth, "open_classifiers", lambda *, species, size, cache_root: classifiers)
    figures = _measured(pairs, pairs.answer)
    assert sorted(figures["content_kept_by_factor"]) == sorted(strong)
    assert figures["classifier_accuracy"][weak] == 0.5


def test_a_run_on_critters_is_measured_by_true_answers(
    pairs: truth.Pairs, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.from_yaml((tiny_run / "config.yaml").read_text())
    critters_run = config.replace({"data.folder": FOLDER, "seed": 7})
    (tiny_run / "config.yaml").write_text(critters_run.to_yaml())
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TRAIN", 60)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_VAL", 10)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TEST", 10)
    figures = evaluate_run(tiny_run)
    page = (tiny_run / "report" / "index.html").read_text(encoding="utf-8")
    assert "Against the true answers" in page
    assert f"{figures['true_answer_error_ratio']:.3f}" in page
    assert "classifier" in page
    assert "coat pattern taken" in page
    for name in ("true_answer_error_ratio", "species_reached", "content_kept", "pattern_taken", "pattern_kept"):
        low, high = figures["intervals"][name]
        assert low <= figures[name] <= high
    assert figures["protocol"]["domains"] == "labels"
    python = evaluate(TUNIT.from_pretrained(tiny_run / "model"), FOLDER, seed=7)
    shared = python.keys() - {"protocol"}
    assert {name: figures[name] for name in shared} == {name: python[name] for name in shared}


def test_the_critters_first_round_is_the_true_answers_pairs(
    pairs: truth.Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TRAIN", 4)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_VAL", 4)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TEST", COUNT)
    dataset = open_dataset(Data(folder=FOLDER), size=SIZE, seed=7)
    selection = select_pairs(dataset, seed=7)
    order = [pairs.sources.index(reference) for reference in pairs.references]
    np.testing.assert_array_equal(selection.references[:COUNT], order)
