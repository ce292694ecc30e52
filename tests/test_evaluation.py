"""evaluation: figures against known answers, and the report."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from open_tunit import TUNIT, Config, evaluate, train
from open_tunit.config import Data, Model
from open_tunit.data import critters
from open_tunit.data.dataset import Dataset, open_dataset
from open_tunit.evaluation import translations as measuring
from open_tunit.evaluation.compare import compare_runs
from open_tunit.evaluation.ground_truth import answers as truth
from open_tunit.evaluation.ground_truth.classifiers import Judges, truth_of
from open_tunit.evaluation.protocol import FEW_MEASURED, FOREIGN, UNSEEN, Asked
from open_tunit.evaluation.report import captions as names
from open_tunit.evaluation.run import evaluate_run
from open_tunit.evaluation.selection import make_plan
from open_tunit.evaluation.validation import validate
from open_tunit.images import from_uint8
from open_tunit.metrics.distances import frechet_distance

COUNT, SPECIES, SIZE = 40, 3, 32
FOLDER = f"critters:{SPECIES}"


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
    monkeypatch.setattr(truth, "open_judges", lambda *, species, size, cache_root: Judges(oracle, accuracy))
    return pairs


def _measured(pairs: truth.Pairs, answers: Tensor) -> dict[str, Any]:
    species = torch.tensor([critter.species for critter in pairs.sources])
    stub = _Stub(answers, (species + 1) % SPECIES)
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
    judges = truth.open_judges(species=SPECIES, size=SIZE, cache_root=Path())
    weak, *strong = critters.CONTENT_LEVELS
    judges.accuracy[weak] = 0.5
    monkeypatch.setattr(truth, "open_judges", lambda *, species, size, cache_root: judges)
    figures = _measured(pairs, pairs.answer)
    assert sorted(figures["content_kept_by_factor"]) == sorted(strong)
    assert figures["judge_accuracy"][weak] == 0.5


class _Copier(TUNIT):
    """Translates every source into its reference."""

    def translate(self, source: Tensor, reference: Tensor | None = None, **how: Any) -> Tensor:  # type: ignore[override]
        return cast(Tensor, reference)


class _Keeper(TUNIT):
    """Leaves every source as it is."""

    def translate(self, source: Tensor, reference: Tensor | None = None, **how: Any) -> Tensor:  # type: ignore[override]
        return source.expand(max(len(source), 0 if reference is None else len(reference)), -1, -1, -1)


def _untrained(kind: type[TUNIT] = TUNIT) -> TUNIT:
    torch.manual_seed(0)
    shapes = Model(size=SIZE, domains=3, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)
    return kind(shapes).eval()


@pytest.fixture
def held_out(picture_folder: Path) -> Path:
    """The picture folder with 20 of its 24 pictures in test/disc and test/stripe."""
    for kind in ("disc", "stripe"):
        (picture_folder / "test" / kind).mkdir(parents=True)
        for path in sorted(picture_folder.glob(f"{kind}_0?.png")):
            path.rename(picture_folder / "test" / kind / path.name)
    return picture_folder


def _opened(folder: Path) -> Dataset:
    return open_dataset(Data(folder=str(folder), labels="folders"), size=SIZE, seed=0)


def test_a_plan_pairs_each_image_as_often(held_out: Path) -> None:
    dataset = _opened(held_out)
    plan = make_plan(dataset, seed=3)
    assert (plan.part, len(plan.images), len(plan.sources)) == ("test", 20, 80)
    np.testing.assert_array_equal(plan.images, dataset.indices("test"))
    for column in (plan.sources, plan.references):
        np.testing.assert_array_equal(np.bincount(column), np.full(20, 4))
    again = make_plan(dataset, seed=3)
    np.testing.assert_array_equal(plan.references, again.references)
    assert not np.array_equal(plan.references, make_plan(dataset, seed=4).references)
    some = make_plan(dataset, pairs=27, seed=3)
    assert len(some.sources) == len(some.references) == 27
    assert np.bincount(some.sources, minlength=20).max() == 2
    np.testing.assert_array_equal(some.references[:20], plan.references[:20])


def test_a_plan_of_a_part_that_is_empty_or_large(held_out: Path) -> None:
    dataset = _opened(held_out)
    assert len(make_plan(dataset, part="all").images) == len(dataset.files) == 24
    few = make_plan(dataset, most=7, seed=1)
    assert len(few.images) == len(few.sources) // 4 == 7
    assert set(few.images) <= set(dataset.indices("test"))
    nothing_held_out = dataclasses.replace(dataset, split=np.full(24, "train"))
    for part in ("test", "val", "train"):
        plan = make_plan(nothing_held_out, part=part)  # type: ignore[arg-type]
        assert (plan.part, len(plan.images)) == ("train", 24)
    with pytest.raises(ValueError, match="pairs is 0"):
        make_plan(dataset, pairs=0)


def test_a_model_of_one_domain_is_told(held_out: Path) -> None:
    model = _untrained()
    with torch.no_grad():
        model.E.domain_head.weight.zero_()
        model.E.domain_head.bias.copy_(torch.arange(model.config.domains))
    figures = evaluate(model, str(held_out), seed=3)
    assert figures["domain_reached_by_own_judgement"] == 1
    assert "20 of 20 images are in one domain: that translations reach it says nothing" in figures["notes"]


def test_a_folder_is_measured_the_same_twice(held_out: Path) -> None:
    model = _untrained()
    figures = evaluate(model, str(held_out), seed=3)
    assert figures == evaluate(model, str(held_out), seed=3)
    assert figures["held_out_images"] == sum(figures["images_per_domain"]) == 20
    assert figures["pairs"] == figures["protocol"]["pairs"] == 80
    for name in ("reconstruction_error", "domain_reached_by_own_judgement", "cycle_error", "label_free_score"):
        assert 0 <= figures[name] <= 1
        low, high = figures["intervals"][name]
        assert low - 1e-9 <= figures[name] <= high + 1e-9
    assert "pseudo_label_accuracy" not in figures
    assert figures["protocol"]["domains"] == "pseudo labels"
    with_labels = evaluate(model, str(held_out), labels="folders", seed=3)
    assert 0.5 <= with_labels["pseudo_label_accuracy"] <= 1
    assert {"adjusted_rand_index", "normalized_mutual_information", "purity", "style_neighbour_accuracy"} <= set(
        with_labels
    )
    json.dumps(with_labels, allow_nan=False)


def test_what_copies_the_reference_is_found_out(held_out: Path) -> None:
    figures = evaluate(_untrained(_Copier), str(held_out), labels="folders", asked=Asked(pairs=20))
    assert figures["domain_reached_by_own_judgement"] == 1
    assert figures["reconstruction_error"] == 0
    assert figures["frechet_distance_E"] == pytest.approx(0, abs=1e-9)
    assert (figures["precision_E"], figures["coverage_E"]) == (1, 1)
    assert figures["diversity_E"] > 0


def test_what_changes_nothing_has_the_unchanged_sources_figures(held_out: Path) -> None:
    figures = evaluate(_untrained(_Keeper), str(held_out), labels="folders")
    unchanged = figures["mean_frechet_distance_E_source_unchanged"]
    assert figures["mean_frechet_distance_E"] == pytest.approx(unchanged)
    assert unchanged > 0
    assert figures["mean_frechet_distance_E_pairs"] == 2
    assert (figures["cycle_error"], figures["diversity_E"]) == (0, pytest.approx(0, abs=1e-9))


def test_the_mean_distance_over_pairs_of_domains_by_hand(held_out: Path) -> None:
    dataset = _opened(held_out)
    figures = evaluate(_untrained(_Keeper), str(held_out), labels="folders")
    plan, model = make_plan(dataset), _untrained(_Keeper)
    labels = dataset.labels[plan.images]
    with torch.inference_mode():
        features = model.E.trunk(from_uint8(np.asarray(dataset.images[plan.images]))).mean(dim=(2, 3))
    distances = []
    for a, b in ((0, 1), (1, 0)):
        sources = plan.sources[(labels[plan.sources] == a) & (labels[plan.references] == b)]
        distances.append(frechet_distance(features[labels == b], features[sources]))
    assert figures["mean_frechet_distance_E"] == pytest.approx(np.mean(distances), rel=1e-4)


def test_too_few_images_are_said_and_the_rest_is_measured(picture_folder: Path) -> None:
    (picture_folder / "test").mkdir()
    for path in sorted(picture_folder.glob("disc_0[0-3].png")):
        path.rename(picture_folder / "test" / path.name)
    figures = evaluate(_untrained(), str(picture_folder))
    assert figures["held_out_images"] == 4
    assert any("4 real images; it needs at least 6" in line for line in figures["notes"])
    assert any("mean Fréchet distance over pairs of domains" in line for line in figures["notes"])
    assert "precision_E" not in figures
    assert math.isfinite(figures["frechet_distance_E"])


def test_a_score_is_certainty_times_what_comes_back() -> None:
    made = measuring.Translations(
        certainty=np.array([1.0, 0.5, 1.0]),
        reached=np.array([True, False, True]),
        cycle_error=np.array([0.0, 0.1, 0.9]),
        distance=np.array([0.1, 0.2, 0.3]),
        features=None,
    )
    np.testing.assert_allclose(made.scores(), [1, 0.25, 0])


@pytest.fixture
def run(held_out: Path, tmp_path: Path) -> Path:
    return _trained(held_out, tmp_path / "<run> & co")


def test_every_loss_has_a_name_for_its_curve(run: Path) -> None:
    logged = {name for line in (run / "log.jsonl").read_text().splitlines() for name in json.loads(line)}
    losses = {name for name in logged if name.startswith("loss/")}
    assert {"loss/d_mismatched", "loss/reconstruction"} <= losses <= set(names.CURVES)


@pytest.mark.parametrize(("value", "said"), [(0.08241, "0.0824"), (66.2, "66.2"), (999.7, "1000"), (1043.2, "1043")])
def test_numbers_beside_a_curve_have_no_exponent(value: float, said: str) -> None:
    assert names.short(value) == said


def _trained(data: Path, out: Path, **fields: Any) -> Path:
    shapes = {
        "model.style_dim": 8, "model.palette_dim": 3,
        "model.guiding_width": 4, "model.generator_width": 4, "model.style_mlp_width": 16,
        "model.projection_dim": 8, "discriminator.width": 4, "discriminator.max_width": 8,
        "training.batch": 4, "training.guiding_batch": 8, "training.joint_start": 1,
    }  # fmt: skip
    steps = fields.pop("steps", 2)
    evaluator = fields.pop("evaluator", None)
    fields = {"report_every": 1} | fields
    config = Config.preset("cpu", data=str(data), out=str(out), domains=2, steps=steps, overrides=shapes, **fields)
    train(config, evaluator=evaluator)
    return out


def test_the_report_of_a_run_stands_alone(run: Path, picture_folder: Path) -> None:
    figures = evaluate_run(run)
    assert json.loads((run / "metrics.json").read_text()) == json.loads(json.dumps(figures))
    assert figures["steps"] == 2
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[\w.]+\.\w", re.sub(r"base64,[^\"]*", "", page))
    links = re.sub(r"base64,[^\"]*", "base64,", page)
    sources = re.findall(r'(?:src|href|url\()\s*=?\s*"?([^"\s>)]{0,30})', links)
    assert len(sources) >= 6
    assert all(re.match(r"data:image/(png|jpeg);base64,|#", source) for source in sources)
    assert f"{figures['reconstruction_error']:.3f}" in page
    for part in ("Reference-guided", "Domain-guided", "Interpolations", "Styles", "Best and worst", "Training", "Cost"):
        assert f">{part}</h2>" in page, part
    assert "images/s" in page
    assert sorted(path.name for path in (run / "report").iterdir()) == ["cost.json", "index.html", "pictures"]


def test_the_reports_map_says_how_it_was_made(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def caption() -> str:
        evaluate_run(run)
        page = (run / "report" / "index.html").read_text(encoding="utf-8")
        return re.findall(r"<figcaption>(20 held-out images by [^<]*)<", page)[0]

    assert caption().startswith("20 held-out images by t-SNE of their styles")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert re.fullmatch(r"20 held-out images by .* \(PCA\): \d+% of the variance\.", caption())


def test_the_report_calls_domains_what_the_user_calls_them(run: Path) -> None:
    (run / "model" / "domains.yaml").write_text("a <b>: 1\n")
    evaluate_run(run)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "</i>a &lt;b&gt;</h3>" in page
    assert "</i>Domain 0</h3>" in page
    assert "</i>Domain 1</h3>" not in page


@pytest.mark.browser
@pytest.mark.timeout(1200)
def test_the_report_fits_a_phone(run: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    evaluate_run(run)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (390, 1280):
            view = browser.new_page(viewport={"width": width, "height": 800})
            view.set_default_timeout(600_000)
            view.goto((run / "report" / "index.html").as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") == width
            narrowest = "Math.min(...[...document.querySelectorAll('td')].map(cell => cell.clientWidth))"
            assert view.evaluate(narrowest) > 40
        browser.close()


def test_a_command_gives_the_same_figures_twice(run: Path) -> None:
    evaluate_run(run)
    before = (run / "metrics.json").read_bytes()
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    evaluate_run(run)
    assert (run / "metrics.json").read_bytes() == before
    again = (run / "report" / "index.html").read_text(encoding="utf-8")
    without_cost = [re.sub(r'<section id="cost">.*?</section>', "", text) for text in (page, again)]
    assert without_cost[0] == without_cost[1]


def test_a_run_with_its_own_cache_is_measured_with_it(
    held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    run = _trained(held_out, tmp_path / "run", cache=str(tmp_path / "own"))
    evaluate_run(run, asked=Asked(pairs=4))
    assert (tmp_path / "own").is_dir()
    assert not (tmp_path / "usual").exists()


def test_a_model_folder_and_other_images(run: Path, picture_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a model folder, not a run; name the images with --data FOLDER"):
        evaluate_run(run / "model")
    figures = evaluate_run(run / "model", data=str(picture_folder), asked=Asked(part="all", pairs=5))
    assert (figures["held_out_images"], figures["pairs"], figures["protocol"]["part"]) == (24, 5, "all")
    assert "nearest_training_ratio_E" not in figures
    with pytest.raises(ValueError, match="only a run has a best model"):
        evaluate_run(run / "model", data=str(picture_folder), weights="best")
    with pytest.raises(FileNotFoundError, match="has no best/"):
        evaluate_run(run, weights="best")


def test_copying_is_asked_about_the_training_images_alone(run: Path, picture_folder: Path, tmp_path: Path) -> None:
    own = evaluate_run(run, asked=Asked(pairs=8))
    assert "nearest_training_ratio_E" in own
    assert FOREIGN not in own["notes"]
    shutil.copytree(picture_folder, tmp_path / "others")
    next((tmp_path / "others").rglob("disc_*.png")).unlink()
    with pytest.warns(UserWarning, match="is kept as"):
        figures = evaluate_run(run, data=str(tmp_path / "others"), asked=Asked(pairs=8))
    assert figures["protocol"]["part"] == "test"
    assert "nearest_training_ratio_E" not in figures
    assert {FOREIGN, UNSEEN} <= set(figures["notes"])
    with pytest.warns(UserWarning, match="is kept as"):
        whole = evaluate_run(run, data=str(tmp_path / "others"), asked=Asked(part="all", pairs=8))
    assert FOREIGN in whole["notes"]
    assert UNSEEN not in whole["notes"]


def test_few_images_are_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = evaluate_run(run, asked=Asked(pairs=4))["held_out_images"]
    told = f"only {count} images measured: figures of so few say little"
    assert count < FEW_MEASURED
    assert told in evaluate_run(run, asked=Asked(pairs=4))["notes"]
    monkeypatch.setattr("open_tunit.evaluation.protocol.FEW_MEASURED", count)
    assert told not in evaluate_run(run, asked=Asked(pairs=4))["notes"]


def test_figures_of_another_protocol_are_kept(run: Path, picture_folder: Path, tmp_path: Path) -> None:
    def kept() -> set[bytes]:
        return {path.read_bytes() for path in run.glob("metrics-*.json")}

    def now(data: Path | None, **asked: Any) -> bytes:
        evaluate_run(run, data=None if data is None else str(data), asked=Asked(**asked))
        return (run / "metrics.json").read_bytes()

    own = now(None, pairs=4)
    assert now(None, pairs=4) == own
    assert kept() == set()
    with pytest.warns(
        UserWarning, match=r"metrics\.json was of other images, .* and is kept as .*metrics-pictures-test-"
    ):
        other = now(picture_folder, part="all", pairs=4)
    (report,) = run.glob("report-*/index.html")
    assert report.parent.name.removeprefix("report") == next(run.glob("metrics-*.json")).stem.removeprefix("metrics")
    assert report.read_text() != (run / "report" / "index.html").read_text()
    namesake = tmp_path / "elsewhere" / picture_folder.name
    shutil.copytree(picture_folder, namesake)
    next(namesake.rglob("disc_*.png")).unlink()
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        another = now(namesake, part="all", pairs=4)
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        now(namesake, part="all", pairs=5)
    assert kept() == {own, other, another}
    with pytest.warns(UserWarning, match=r"metrics-pictures-all-"):
        now(None, pairs=4)
    trained_on = own.replace(b'"steps": ', b'"steps": 1')  # the same protocol, after more training
    assert trained_on != own
    (run / "metrics.json").write_bytes(trained_on)
    with pytest.warns(UserWarning, match=r"metrics-pictures-test-"):
        now(picture_folder, part="all", pairs=4)
    assert {own, trained_on} <= kept()
    (run / "metrics.json").write_text("{")
    with pytest.warns(UserWarning, match=r"metrics-unknown-"):
        now(None, pairs=4)
    assert b"{" in kept()


def test_the_card_of_a_measured_run_tells_its_figures(run: Path, picture_folder: Path) -> None:
    card = run / "model" / "README.md"
    before = card.read_text()
    assert "Not known: nothing of the kind lies beside this model." in before
    evaluate_run(run, data=str(picture_folder), asked=Asked(part="all", pairs=4))
    with pytest.warns(UserWarning, match="is kept as"):
        evaluate_run(run, asked=Asked(part="train", pairs=4))
    assert card.read_text() == before
    with pytest.warns(UserWarning, match="is kept as"):
        figures = evaluate_run(run, asked=Asked(pairs=4))
    assert f"| `reconstruction_error` | {figures['reconstruction_error']:.4g} |" in card.read_text()
    assert str(picture_folder.parent) not in card.read_text()
    assert card.read_text().startswith(before.partition("## Measured")[0])


def test_two_runs_side_by_side(run: Path, picture_folder: Path, tmp_path: Path) -> None:
    evaluate_run(run)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no metrics\.json; run `tunit evaluate .*other` first"):
        compare_runs(run, other)
    changed = json.loads((run / "metrics.json").read_text())
    changed["reconstruction_error"] += 0.25
    (other / "metrics.json").write_text(json.dumps(changed))
    rows, warnings = compare_runs(run, other)
    assert rows[0] == ("measured on", *[f"20 images (test part of {picture_folder})"] * 2, "")
    (row,) = [row for row in rows if row[0] == "Error of a picture redrawn in its own style"]
    assert row[3] == "+0.250"
    assert warnings == []
    assert any("Fréchet" in row[0] for row in rows)

    changed["protocol"] |= {"features_identity": "another", "seed": 5, "data": "the same images elsewhere"}
    (other / "metrics.json").write_text(json.dumps(changed))
    rows, warnings = compare_runs(run, other)
    assert not any("Fréchet" in row[0] for row in rows)
    assert warnings == ["seed differs: 0 and 5", "the features differ: figures in feature space are left out"]
    changed["protocol"]["fingerprint"] = "f"
    (other / "metrics.json").write_text(json.dumps(changed))
    folder = json.loads((run / "metrics.json").read_text())["protocol"]["data"]
    expected = f"the images differ, by their fingerprints: {folder} and the same images elsewhere"
    assert expected in compare_runs(run, other)[1]
    for wrong in ("{", "[]", "{}"):
        (other / "metrics.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"is not JSON|states no protocol"):
            compare_runs(run, other)


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
    for name in ("true_answer_error_ratio", "species_reached", "content_kept", "pseudo_label_accuracy"):
        low, high = figures["intervals"][name]
        assert low <= figures[name] <= high
    assert figures["protocol"]["domains"] == "labels"
    python = evaluate(TUNIT.from_pretrained(run / "model"), FOLDER, seed=7)
    shared = python.keys() - {"protocol"}
    assert {name: figures[name] for name in shared} == {name: python[name] for name in shared}


def test_the_critters_first_round_is_the_true_answers_pairs(
    pairs: truth.Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TRAIN", 4)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_VAL", 4)
    monkeypatch.setattr("open_tunit.data.dataset.CRITTERS_TEST", COUNT)
    dataset = open_dataset(Data(folder=FOLDER), size=SIZE, seed=7)
    plan = make_plan(dataset, seed=7)
    order = [pairs.sources.index(reference) for reference in pairs.references]
    np.testing.assert_array_equal(plan.references[:COUNT], order)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config\.yaml"):
        evaluate_run(tmp_path)


def test_training_keeps_the_best_of_its_validations(picture_folder: Path, tmp_path: Path) -> None:
    scores = iter([0.2, 0.7, 0.4])
    seen = []

    def evaluator(model: TUNIT, dataset: Dataset) -> Mapping[str, float]:
        assert not model.training
        seen.append(len(dataset.files))
        return {"score": next(scores), "domain_reached": 0.5}

    out = _trained(picture_folder, tmp_path / "run", steps=4, evaluator=evaluator, report_every=1, validate_every=1)
    assert seen == [24, 24, 24]  # the first step's report is E's alone
    about = TUNIT.from_pretrained(out / "best").about
    assert (about["step"], about["validation"]["score"]) == (3, 0.7)
    assert TUNIT.from_pretrained(out / "model").about["step"] == 4
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line.get("validation/score") for line in lines] == [None, 0.2, 0.7, 0.4]

    scores = iter([0.6])
    _trained(picture_folder, out, steps=5, evaluator=evaluator, report_every=1, validate_every=1)
    assert TUNIT.from_pretrained(out / "best").about["step"] == 3


def test_training_is_the_same_with_and_without_validation(picture_folder: Path, tmp_path: Path) -> None:
    plain = _trained(picture_folder, tmp_path / "plain", evaluator=validate)
    watched = _trained(picture_folder, tmp_path / "watched", evaluator=validate, report_every=1, validate_every=1)
    assert not (plain / "best").exists()
    assert (watched / "best" / "model.safetensors").is_file()
    weights = [TUNIT.from_pretrained(out / "model").state_dict() for out in (plain, watched)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_validation_is_label_free_and_repeatable(held_out: Path) -> None:
    dataset = _opened(held_out)
    model = _untrained(_Keeper)
    found = validate(model, dataset)
    assert found == validate(model, dataset)
    assert found["cycle_error"] == 0
    assert 0 < found["score"] < 1
