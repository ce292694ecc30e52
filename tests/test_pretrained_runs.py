"""The recipe `pretrained` in whole runs, on a trunk of random weights: all that other recipes can do."""

from __future__ import annotations

import io
import json
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from test_backbone import random_backbone

from open_tunit import TUNIT, Config, train
from open_tunit.cli.main import main
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.features.extractors import own_features
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.evaluation.translations import validate
from open_tunit.interop import onnx
from open_tunit.interop.hub import Upload, stage
from open_tunit.media.images import from_uint8
from open_tunit.networks.backbone import Backbone
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.networks.pretrained_guiding import PretrainedGuiding, resized
from open_tunit.settings.recipes import RECIPES, without_effect
from open_tunit.training import distillation
from open_tunit.training.fitting import pretrained
from open_tunit.training.reports import alarms
from open_tunit.training.steps import state as states
from open_tunit.web.studio import Studio

SIDE = 64
TINY = {
    "model.trunk_side": SIDE,
    "model.style_dim": 12, "model.palette_dim": 4, "model.generator_width": 4, "model.style_mlp_width": 8,
    "discriminator.width": 8, "training.batch": 4, "training.pair_steps": 2, "training.pair_weight": 5.0,
    "training.pair_share": 0.2, "training.cycle_weight": 5.0,
}  # fmt: skip
"""With pairs and the cycle, which the preset leaves out, so that every part of the recipe is run."""
AS_THE_PRESET = {"training.pair_steps": None, "training.pair_share": 0.0, "training.pair_weight": 0.0} | {
    "training.cycle_weight": 0.0
}
BOTH = pytest.mark.parametrize("parts", [{}, AS_THE_PRESET], ids=["with pairs and the cycle", "as the preset"])


@pytest.fixture(scope="module", autouse=True)
def _random_trunk() -> Iterator[None]:
    """In half precision, as the published weights are read; it sees pictures of SIDE pixels, to save time."""

    def random() -> Backbone:
        trunk = random_backbone()
        for value in trunk.buffers():
            value.copy_(value.half())
        return trunk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "load_backbone", random)
        patch.setattr(pretrained, "COUNT_SIDE", SIDE)
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures each of warm and of cool noise, and eight in test/; in folders by kind."""
    folder, random = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0)
    for number in range(20):
        kind = ("warm", "cool")[number % 2]
        place = folder / ("test" if number >= 12 else "train") / kind
        place.mkdir(parents=True, exist_ok=True)
        colour = np.array([200, 60, 20] if kind == "warm" else [20, 80, 180])
        small = random.integers(0, 60, (5, 5, 3)) + colour
        Image.fromarray(small.astype(np.uint8)).resize((40, 40)).save(place / f"{number:02d}.png")
    return folder


def asked(pictures: Path, out: Path, steps: int = 4, set: dict[str, Any] | None = None, **fields: Any) -> Config:
    given: dict[str, Any] = {"domains": 2, "size": 32, "report_every": 2} | fields
    return Config.preset("photos", data=str(pictures), out=str(out), steps=steps, overrides=TINY | (set or {}), **given)


def trained(config: Config, **more: Any) -> str:
    said = io.StringIO()
    train(config, console=Console(file=said, width=200), **more)
    return said.getvalue()


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    trained(asked(pictures, out, set={"validate_every": 1}), evaluator=validate)
    return out


@pytest.fixture(scope="module")
def model(run: Path) -> TUNIT:
    return TUNIT.from_pretrained(run / "model")


@pytest.fixture(scope="module")
def files(pictures: Path) -> list[Path]:
    return sorted((pictures / "test").rglob("*.png"))


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def are_of_pictures(model: TUNIT, config: Config) -> bool:
    """Whether every domain's typical style is the code of a training picture, and not the mean."""
    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed)
    codes = model.style(from_uint8(np.asarray(dataset.images)[dataset.indices("train")]))
    typical = torch.stack([model.domain_style(k) for k in range(2)])
    apart = torch.cdist(typical.double(), codes.double()).amin(dim=1)
    return bool((apart < 1e-4).all()) and not torch.equal(typical, model.domain_styles)


def test_a_domains_typical_style_is_that_of_a_picture(
    run: Path, model: TUNIT, pictures: Path, files: list[Path]
) -> None:
    config = asked(pictures, run)
    assert are_of_pictures(model, config)
    other = TUNIT.from_pretrained(run / "model")
    other.domain_styles.zero_()
    for found in (
        lambda m: Studio(m, run / "model" / "examples").domain_gallery(str(files[0]))[1][0].tobytes(),
        lambda m: m.translate(files[0], domain=1).tobytes(),
    ):
        assert found(model) == found(other)
    assert onnx._facts(model, {})["domain_styles"] == model.typical_styles.tolist() != model.domain_styles.tolist()


@pytest.mark.parametrize("labels", [{}, {"data.labels": "folders"}])
def test_a_model_that_is_written_after_the_run_has_typical_styles(
    pictures: Path, tmp_path: Path, labels: dict[str, Any]
) -> None:
    """As after a last report that was interrupted."""
    config = asked(pictures, tmp_path / "run", set=labels)
    trained(config)
    before = TUNIT.from_pretrained(tmp_path / "run" / "model").typical_styles
    shutil.rmtree(tmp_path / "run" / "model")
    trained(config)
    again = TUNIT.from_pretrained(tmp_path / "run" / "model")
    assert are_of_pictures(again, config)
    torch.testing.assert_close(again.typical_styles, before, atol=1e-4, rtol=0)


def test_a_run_goes_through_its_phases_and_sorts_the_kinds(run: Path, model: TUNIT, files: list[Path]) -> None:
    assert [line["phase"] for line in lines(run)] == ["pairs", "joint"]
    assert isinstance(model.E, PretrainedGuiding)
    domains = model.domains(files).argmax(dim=1).tolist()
    kinds = [file.parent.name for file in files]
    assert len(set(zip(domains, kinds, strict=True))) == 2
    assert model.domain_counts.sum() == 11  # one is held out to validate
    assert model.sample_styles(0, 3).std(dim=0).min() > 0


@BOTH
def test_a_stopped_run_goes_on_to_the_same_bits(
    pictures: Path, run: Path, tmp_path: Path, parts: dict[str, Any]
) -> None:
    config = asked(pictures, tmp_path / "run", set={"validate_every": 1} | parts)
    if parts:
        run = tmp_path / "unstopped"
        trained(config.replace({"out": str(run)}), evaluator=validate)
        assert [line["phase"] for line in lines(run)] == ["joint", "joint"]

    class Stopped(Exception):
        pass

    def stop(*_: Any) -> Any:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("open_tunit.training.session.turns.Turns.take", _stopping_at(3, stop))
        with pytest.raises(Stopped):
            trained(config, evaluator=validate)
    assert "going on from step 2 of 4" in trained(config, evaluator=validate)
    for name in ("checkpoints/00000004.pt", "checkpoints/00000002.pt"):
        first, second = (torch.load(place / name, weights_only=True) for place in (run, tmp_path / "run"))
        for network in ("E", "E_ema", "G", "G_ema", "D"):
            for key, value in first[network].items():
                assert torch.equal(value, second[network][key]), (name, network, key)
    weights = [(place / "model" / "model.safetensors").read_bytes() for place in (run, tmp_path / "run")]
    assert weights[0] == weights[1]
    timeless = [
        [{k: v for k, v in line.items() if "second" not in k} for line in lines(place)]
        for place in (run, tmp_path / "run")
    ]
    assert timeless[0] == timeless[1]


def _stopping_at(step: int, stop: Any) -> Any:
    from open_tunit.training.session.turns import Turns

    honest = Turns.take

    def take(turns: Turns, phase: Any, plan: Any) -> Any:
        if turns.state.step == step:
            stop()
        return honest(turns, phase, plan)

    return take


@BOTH
def test_minutes_are_turned_into_steps(pictures: Path, tmp_path: Path, parts: dict[str, Any]) -> None:
    ticks = iter(range(10**6))
    config = asked(pictures, tmp_path / "run", set=parts, minutes=1.0, report_every=None)
    said = trained(config, clock=lambda: next(ticks) * 0.5)
    assert "timing a few steps" in said
    stored = Config.from_yaml((tmp_path / "run" / "config.yaml").read_text())
    if parts:
        assert not stored.training.pair_steps
    else:
        assert 0 < (stored.training.pair_steps or 0) < stored.training.steps
    assert stored.training.joint_start == 0
    assert lines(tmp_path / "run")[-1]["step"] == stored.training.steps


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_labels_of_all_or_some_name_the_domains(
    pictures: Path, tmp_path: Path, files: list[Path], share: float
) -> None:
    labels = {"data.labels": "folders", "data.label_fraction": share}
    trained(asked(pictures, tmp_path / "run", set=labels))
    about = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["about"]
    assert about["supervision"] == ("all" if share == 1 else "some")
    found = TUNIT.from_pretrained(tmp_path / "run" / "model").domains(files).argmax(dim=1).tolist()
    right = [("cool", "warm").index(file.parent.name) == domain for file, domain in zip(files, found, strict=True)]
    assert np.mean(right) > (0.7 if share < 1 else 0.99)


def test_a_run_begins_as_another_model_whose_style_codes_its_generator_knows(
    pictures: Path, run: Path, model: TUNIT, files: list[Path], tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for number, file in enumerate(files):
        Image.open(file).rotate(90).point(lambda value: 255 - value).save(others / f"{number}.png")
    still = {"training.learning_rate": 0.0}
    config = asked(others, tmp_path / "run", steps=2, set=still, init=str(run / "model"))
    trained(config)
    tuned = TUNIT.from_pretrained(tmp_path / "run" / "model")
    x = tuned.squares(sorted(others.iterdir()))
    assert torch.equal(tuned.style(x), model.style(x))
    torch.testing.assert_close(tuned.translate(x, x.flip(0)), model.translate(x, x.flip(0)))
    assert not torch.equal(tuned.E.domain_head.weight, model.E.domain_head.weight), "domains are the new folder's"
    assert main(["train", "--preset", "cpu", "--data", str(others), "--out", "x", "--init", str(run / "model")]) == 2
    with pytest.raises(ValueError, match=r"reads pictures at 64 px, this run at 96: set model\.trunk_side=64"):
        trained(asked(others, tmp_path / "wider", set={"model.trunk_side": 96}, init=str(run / "model")))


def test_alarms_of_frozen_domains_are_measured_once(
    pictures: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = [{name for name in line if name.startswith("alarm/")} for line in lines(run)]
    assert logged[-1] == {f"alarm/{name}" for name in alarms.ALARMS}
    calls = []
    honest = alarms.domains_in_views
    monkeypatch.setattr(alarms, "domains_in_views", lambda *given: calls.append(1) or honest(*given))
    trained(asked(pictures, tmp_path / "run", set={"validate_every": 1}))
    assert len(calls) == 1
    names = [f"alarm/{name}" for name in ("empty_domain", "merged_domains", "unstable_labels")]
    assert [[line[name] for name in names] for line in lines(tmp_path / "run")] == [
        [line[name] for name in names] for line in lines(run)
    ]


def test_the_best_model_is_kept(run: Path, files: list[Path]) -> None:
    scores = [line["validation/score"] for line in lines(run) if "validation/score" in line]
    assert len(scores) == 2
    best = TUNIT.from_pretrained(run / "best")
    assert best.about["validation"]["score"] == pytest.approx(max(scores), abs=1e-6)
    assert best.translate(files[0], files[1]).size == (40, 40)


def test_it_is_evaluated_with_a_report(run: Path, model: TUNIT, pictures: Path) -> None:
    figures = evaluate_run(run, asked=Asked(pairs=8))
    assert figures["held_out_images"] == 8
    for name in ("domain_reached", "frechet_distance_E", "diversity_E_of_samples", "nearest_training_ratio_E"):
        assert np.isfinite(figures[name]), name
    assert "Sampled styles" in (run / "report" / "index.html").read_text(encoding="utf-8")
    x = model.squares(sorted((pictures / "test").rglob("*.png")))
    x = x.add(1).mul(127.5).round() / 127.5 - 1
    assert isinstance(model.E, PretrainedGuiding)
    trunk = model.E.trunk
    expected = trunk.top(trunk(resized(x, model.E.side))[-1]).mean(dim=(2, 3))
    torch.testing.assert_close(own_features(model)(x), expected)
    assert f"to {SIDE} px" in figures["protocol"]["features_input"]


def test_the_page_answers(model: TUNIT, run: Path, files: list[Path]) -> None:
    studio, (source, reference) = Studio(model, run / "model" / "examples"), map(str, (files[0], files[-1]))
    drawn = studio.translate(source, reference)
    assert np.array_equal(np.asarray(drawn), np.asarray(model.translate(source, reference)))
    assert len(studio.domain_gallery(source)) == 2
    assert studio.can_sample
    assert {domain for _, domain, _ in studio.sort(list(map(str, files)))} == {0, 1}


def test_its_onnx_file_sorts_and_encodes_as_it_does(
    run: Path, model: TUNIT, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G is as every other model's (test_onnx.py), and takes the longest to export."""
    onnxruntime = pytest.importorskip("onnxruntime")
    parts = onnx._parts
    monkeypatch.setattr(onnx, "_parts", lambda model: parts(model)[:1])
    assert main(["export", "--model", str(run / "model"), "--out", str(tmp_path / "files")]) == 0
    guiding = onnxruntime.InferenceSession(tmp_path / "files" / "guiding.onnx")
    x = model.squares(files)
    domains, style = guiding.run(["domains", "style"], {"image": x.numpy()})
    np.testing.assert_allclose(domains, model.domains(x).numpy(), atol=1e-4)
    np.testing.assert_allclose(style, model.style(x).numpy(), atol=1e-4)


def test_the_hub_gets_all_that_it_needs(run: Path, model: TUNIT, files: list[Path], tmp_path: Path) -> None:
    stage(Upload(place=run, name="me/photos", license="cc-by-4.0"), tmp_path / "staged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("open_tunit.networks.backbone.load_backbone", None)
        again = TUNIT.from_pretrained(tmp_path / "staged")
    x = model.squares(files)
    assert torch.equal(again.translate(x, x.roll(1, 0)), model.translate(x, x.roll(1, 0)))
    card = (tmp_path / "staged" / "README.md").read_text(encoding="utf-8")
    assert "EfficientNet-Lite0" in card
    assert "under the Apache License 2.0" in card


def test_half_precision_on_disk_and_in_computing(model: TUNIT, files: list[Path], tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "half", half=True)
    x = model.squares(files)
    half = TUNIT.from_pretrained(tmp_path / "half")
    assert torch.equal(half.domains(x).argmax(dim=1), model.domains(x).argmax(dim=1))
    assert (half.translate(x, x.roll(1, 0)) - model.translate(x, x.roll(1, 0))).abs().max() < 0.02
    half.in_bfloat16 = True
    assert (half.translate(x, x.roll(1, 0)) - model.translate(x, x.roll(1, 0))).abs().mean() < 0.05
    assert half.style(x).dtype == torch.float32


def test_a_run_in_bfloat16_is_near_one_in_float32(pictures: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        trained(asked(pictures, tmp_path / precision, set=AS_THE_PRESET | {"precision": precision}))
    single, half = (lines(tmp_path / precision) for precision in ("float32", "bfloat16"))
    for name in ("loss/d_real", "loss/d_fake", "loss/g_adversarial", "loss/reconstruction", "loss/features"):
        ours, theirs = [line[name] for line in half], [line[name] for line in single]
        assert ours != theirs, name
        assert ours == pytest.approx(theirs, rel=0.05, abs=0.02), name


def test_settings_without_effect_change_nothing(pictures: Path, tmp_path: Path) -> None:
    others = {
        "model.guiding_width": 5, "model.guiding_depths": [1, 1, 1, 1, 1], "model.projection_dim": 3,
        "data.views.domain_colour": False, "training.joint_start": 2, "training.guiding_share": 0.7,
        "training.guiding_batch": 3, "training.prototypes_start": 0.2, "training.guiding_weight": 2.0,
        "training.translation_style_weight": 3.0, "training.translation_domain_weight": 4.0,
        "training.patch_weight": 5.0, "training.patch_full_steps": 1, "training.r1_weight": 6.0,
        "training.r1_every": 3, "training.temperature": 0.5, "training.queue": 2,
        "training.guiding_learning_rate": 0.1, "training.joint_guiding_learning_rate": 0.2,
        "training.joint_guiding_full_steps": 1,
    }  # fmt: skip
    assert set(others) == without_effect(RECIPES["pretrained"])
    for out, changed in (("as it is", {}), ("changed", others)):
        trained(asked(pictures, tmp_path / out, set=AS_THE_PRESET | changed))
    first, second = (torch.load(tmp_path / out / "checkpoints/00000004.pt") for out in ("as it is", "changed"))
    for network in ("E_ema", "G", "D"):
        assert all(torch.equal(value, second[network][key]) for key, value in first[network].items())


def test_the_number_of_domains_is_found_in_the_trunks_features(pictures: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    random = np.random.default_rng(1)
    (many).mkdir()
    for number in range(45):
        colour = [(200, 60, 20), (20, 80, 180), (40, 190, 60)][number % 3]
        small = random.integers(0, 50, (5, 5, 3)) + np.array(colour)
        Image.fromarray(small.astype(np.uint8)).resize((40, 40)).save(many / f"{number:02d}.png")
    said = trained(asked(many, tmp_path / "run", domains="auto"))
    curve = json.loads((tmp_path / "run" / "domains.json").read_text())
    assert curve["chosen"] == 3
    assert "3 domains" in said
    assert TUNIT.from_pretrained(tmp_path / "run" / "model").config.domains == 3
    assert "finished" in trained(asked(many, tmp_path / "run", domains="auto"))
    dataset = open_dataset(asked(many, tmp_path / "run").data, size=32, seed=0)
    assert len(dataset.indices("train")) > 30


def test_a_run_is_distilled_on_its_own_images(
    run: Path, model: TUNIT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distil", "--model", str(run), "--out", str(tmp_path / "small"), "--steps", "2"]) == 0
    warning = "warning: the small model draws other styles"
    assert warning in capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("open_tunit.cli.distil.LEAST_AGREEMENT", 0.0)
        patch.setattr("open_tunit.cli.distil.LEAST_R_SQUARED", -1e9)
        assert main(["distil", "--model", str(run), "--out", str(tmp_path / "again"), "--steps", "2"]) == 0
    assert warning not in capsys.readouterr().out
    small = TUNIT.from_pretrained(tmp_path / "small")
    assert small.about["distilled"]["images"] == 9  # one to validate, eight to test
    assert small.about["data"] == model.about["data"]
    assert small.domain_typical is not None
    assert "E was efficientnet-lite0 and became" in (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "small" / "examples").iterdir())) == len(list((run / "model" / "examples").iterdir()))


def test_the_script_of_the_bundled_fruits(pictures: Path, tmp_path: Path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "bundled_model.py"))
    settings = {"size": 32, "domains": 2, "steps": 3, "overrides": TINY}
    target = tmp_path / "package" / "fruits"
    (target / "old").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "BATCH", 4)
        patch.setitem(script["written"].__globals__, "LARGEST_DIFFERENCE", 255)
        given = {"distilling": {"steps": 20}, "target": target}
        found = script["make_fruits"](str(pictures), tmp_path / "run", settings, **given)
    assert {path.name for path in target.iterdir()} >= {
        "config.json", "model.safetensors", "README.md", "samples.png", "ATTRIBUTION.md", "examples"
    }  # fmt: skip
    assert not (target / "old").exists()
    assert "CC BY-SA 4.0" in (target / "ATTRIBUTION.md").read_text(encoding="utf-8")
    card = (target / "README.md").read_text(encoding="utf-8")
    for said in ("cc-by-sa-4.0", 'pretrained("fruits")', "`Fruits-360`", "E was efficientnet-lite0", "ATTRIBUTION.md"):
        assert said in card
    written = TUNIT.from_pretrained(target)
    assert isinstance(written.E, GuidingNetwork)
    assert written.about["distilled"]["steps"] == 20 == found["steps"]
    assert len(list((target / "examples").iterdir())) == 4
    assert found["bytes"] < 12_000_000


def test_a_model_saved_before_the_side_was_stored_reads_pictures_at_128_px(model: TUNIT, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    stored = tmp_path / "model" / "config.json"
    fields = json.loads(stored.read_text())
    assert fields["model"].pop("trunk_side") == SIDE
    stored.write_text(json.dumps(fields))
    E = TUNIT.from_pretrained(tmp_path / "model").E
    assert isinstance(E, PretrainedGuiding)
    assert E.side == 128
