"""evaluation: figures against known answers, and the report."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from open_tunit import TUNIT, Config, evaluate, train
from open_tunit.config import Model
from open_tunit.data import critters
from open_tunit.evaluation import truth
from open_tunit.evaluation.judges import Judges, truth_of
from open_tunit.evaluation.protocol import evaluate_run
from open_tunit.images import from_uint8
from open_tunit.metrics.clustering import matched_accuracy

COUNT, SPECIES, SIZE = 40, 3, 32
FOLDER = f"critters:{SPECIES}"


@pytest.mark.parametrize(("pseudo_count", "true_count"), [(3, 3), (4, 3), (3, 4), (1, 3)])
def test_matched_accuracy_is_the_best_of_all_matchings(pseudo_count: int, true_count: int) -> None:
    random = np.random.default_rng(pseudo_count * 10 + true_count)
    pseudo, true = random.integers(0, pseudo_count, 60), random.integers(0, true_count, 60)
    count = max(pseudo_count, true_count)
    best = max((np.array(order)[pseudo] == true).mean() for order in itertools.permutations(range(count)))
    assert matched_accuracy(pseudo, true) == pytest.approx(best)


def test_matched_accuracy_of_renamed_and_of_mismatched_labels() -> None:
    true = np.array([0, 0, 1, 2, 2, 2])
    assert matched_accuracy((true + 1) % 3, true) == 1
    assert matched_accuracy(np.zeros(6, dtype=int), true) == 0.5
    for pseudo in (true[:3], true[:0]):
        with pytest.raises(ValueError, match="expected as many, and at least one"):
            matched_accuracy(pseudo, true[:0] if not len(pseudo) else true)


class _Oracle(nn.Module):
    """Judges that recognise every drawing they were shown; anything else is level 0."""

    def __init__(self, shown: Tensor, drawn: list[critters.Critter]) -> None:
        super().__init__()
        self.shown, self.levels = shown.flatten(1), truth_of(drawn)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        nearest = torch.cdist(x.flatten(1), self.shown).argmin(dim=1)
        return {name: nn.functional.one_hot(levels[nearest]) for name, levels in self.levels.items()}


class _Stub:
    """A model that answers as told."""

    def __init__(self, answers: Tensor, domains: Tensor) -> None:
        self.config = Model(size=SIZE, domains=SPECIES)
        self.answers, self.pseudo = answers, domains

    def translate(self, source: Tensor, reference: Tensor) -> Tensor:
        assert source.shape == reference.shape == self.answers.shape
        return self.answers

    def domains(self, pictures: Tensor) -> Tensor:
        return nn.functional.one_hot(self.pseudo, SPECIES).float()


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> truth.Pairs:
    """A few pairs, and perfect judges for their sources, references and answers."""
    monkeypatch.setattr(truth, "CRITTERS_TEST", COUNT)
    pairs = truth.held_out_pairs(FOLDER, size=SIZE, seed=7)
    answers = [critters.true_answer(s, r) for s, r in zip(pairs.sources, pairs.references, strict=True)]
    oracle = _Oracle(torch.cat([pairs.answer, pairs.source]), [*answers, *pairs.sources])
    accuracy = dict.fromkeys(("species", *critters.CONTENT_LEVELS), 1.0)
    monkeypatch.setattr(truth, "train_judges", lambda *, species, size: Judges(oracle, accuracy))
    return pairs


def _measured(pairs: truth.Pairs, answers: Tensor) -> dict[str, Any]:
    species = torch.tensor([critter.species for critter in pairs.sources])
    stub = _Stub(answers, (species + 1) % SPECIES)
    return truth.measure(cast(TUNIT, stub), FOLDER, seed=7)[0]


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
    assert figures["pseudo_label_accuracy"] == 1


def test_unchanged_sources_are_the_unit(pairs: truth.Pairs) -> None:
    figures = _measured(pairs, pairs.source)
    assert figures["true_answer_error_ratio"] == figures["true_answer_error_ratio_head"] == 1
    same = np.mean([s.species == r.species for s, r in zip(pairs.sources, pairs.references, strict=True)])
    assert figures["species_reached"] == pytest.approx(same)
    assert same < 1
    assert figures["content_kept"] == 1


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


def test_weak_judges_are_not_heard(pairs: truth.Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = truth.train_judges(species=SPECIES, size=SIZE)
    weak, *strong = critters.CONTENT_LEVELS
    judges.accuracy[weak] = 0.5
    monkeypatch.setattr(truth, "train_judges", lambda *, species, size: judges)
    figures = _measured(pairs, pairs.answer)
    assert sorted(figures["content_kept_by_factor"]) == sorted(strong)
    assert figures["judge_accuracy"][weak] == 0.5


def _untrained() -> TUNIT:
    torch.manual_seed(0)
    shapes = Model(size=SIZE, domains=3, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)
    return TUNIT(shapes).eval()


def test_a_folder_is_measured_the_same_twice(picture_folder: Path) -> None:
    for kind in ("disc", "stripe"):
        (picture_folder / "test" / kind).mkdir(parents=True)
        for path in sorted(picture_folder.glob(f"{kind}_0[0-3].png")):
            path.rename(picture_folder / "test" / kind / path.name)
    model = _untrained()
    figures = evaluate(model, str(picture_folder), seed=3)
    assert figures == evaluate(model, str(picture_folder), seed=3)
    assert figures["held_out_images"] == sum(figures["images_per_domain"]) == 8
    for name in ("reconstruction_error", "domain_reached_by_own_judgement"):
        assert math.isfinite(figures[name])
        assert 0 <= figures[name] <= 1
    assert "pseudo_label_accuracy" not in figures
    assert isinstance(figures["protocol"], str)
    with_labels = evaluate(model, str(picture_folder), labels="folders", seed=3)
    assert 0.5 <= with_labels["pseudo_label_accuracy"] <= 1
    json.dumps(with_labels, allow_nan=False)


def test_a_perfect_redrawing_has_no_error(picture_folder: Path) -> None:
    model = _untrained()
    stub = SimpleNamespace(
        config=model.config, fit=model.fit, background=model.background, domains=model.domains,
        translate=lambda source, reference: reference,
    )  # fmt: skip
    figures = evaluate(cast(TUNIT, stub), str(picture_folder))
    assert figures["reconstruction_error"] == 0
    assert figures["domain_reached_by_own_judgement"] == 1


@pytest.fixture
def run(picture_folder: Path, tmp_path: Path) -> Path:
    shapes = {
        "model.style_dim": 8, "model.guiding_width": 4, "model.generator_width": 4, "model.style_mlp_width": 16,
        "model.projection_dim": 8, "model.discriminator_width": 4, "model.discriminator_max_width": 8,
        "training.batch": 4, "training.guiding_batch": 8,
    }  # fmt: skip
    out = tmp_path / "<run> & co"
    train(Config.preset("cpu", data=str(picture_folder), out=str(out), domains=2, steps=2, overrides=shapes))
    return out


def test_the_report_of_a_run_stands_alone(run: Path, picture_folder: Path) -> None:
    figures = evaluate_run(run)
    assert json.loads((run / "metrics.json").read_text()) == figures
    assert figures["steps"] == 2
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[\w.]+\.\w", re.sub(r"base64,[^\"]*", "", page))
    sources = re.findall(r'(?:src|href|url\()\s*=?\s*"?([^"\s>)]{0,30})', page)
    assert len(sources) >= 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert f"{figures['reconstruction_error']:.3f}" in page
    assert sorted(path.name for path in (run / "report").iterdir()) == ["index.html", "pictures"]
    before = page
    evaluate_run(run)
    assert (run / "report" / "index.html").read_text(encoding="utf-8") == before


def test_a_run_on_critters_is_measured_by_true_answers(
    pairs: truth.Pairs, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.from_yaml((run / "config.yaml").read_text())
    critters_run = config.replace({"data.folder": FOLDER, "seed": 7})
    (run / "config.yaml").write_text(critters_run.to_yaml())
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TRAIN", 60)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_VAL", 10)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TEST", 10)
    figures = evaluate_run(run)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "Against the true answers" in page
    assert f"{figures['true_answer_error_ratio']:.3f}" in page
    assert "judge" in page
    assert evaluate(TUNIT.from_pretrained(run / "model"), FOLDER, seed=7).items() <= figures.items()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config\.yaml"):
        evaluate_run(tmp_path)
