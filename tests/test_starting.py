"""starting.py: runs that begin with another model's weights, and settings that cannot be or change nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Begin, train_tiny, trained

from open_tunit import TUNIT, Config, train
from open_tunit.networks import backbone
from open_tunit.settings.presets import PRESETS
from open_tunit.settings.recipes import RECIPES, without_effect
from open_tunit.training.session import opening
from open_tunit.training.session.preview import preview
from open_tunit.training.steps import state as states


def test_fine_tuning_starts_from_a_models_weights(config: Begin, tmp_path: Path) -> None:
    first, _ = trained(config())
    still = {"training.learning_rate": 0.0, "training.guiding_learning_rate": 0.0, "training.prototypes_start": 0.0}
    init = str(tmp_path / "run" / "model")
    tuned, _ = trained(config(steps=2, seed=5, init=init, out=str(tmp_path / "b"), set=still))
    fresh, _ = trained(config(steps=2, seed=5, out=str(tmp_path / "c"), set=still))
    for name, value in first.E.named_parameters():
        torch.testing.assert_close(value, tuned.E.get_parameter(name), msg=name)
    for name, value in first.G.named_parameters():
        torch.testing.assert_close(value, tuned.G.get_parameter(name), msg=name)
    assert not torch.equal(first.G.encoder.stem.weight, fresh.G.encoder.stem.weight)


def test_fine_tuning_to_another_number_of_domains(config: Begin, tmp_path: Path) -> None:
    first, _ = trained(config())
    still = {"training.learning_rate": 0.0, "training.guiding_learning_rate": 0.0}
    init = str(tmp_path / "run" / "model")
    tuned, _ = trained(config(steps=2, domains=3, init=init, out=str(tmp_path / "b"), set=still))
    assert tuned.domain_styles.shape == (3, 8)
    torch.testing.assert_close(first.E.style_head.weight, tuned.E.style_head.weight)


def test_fine_tuning_a_model_without_shape_codes(config: Begin, tmp_path: Path) -> None:
    """As an imported published checkpoint is."""
    torch.manual_seed(0)
    model = TUNIT(dataclasses.replace(config().model, projection_dim=0))
    model.save_pretrained(tmp_path / "plain")
    tuned, _ = trained(config(steps=2, init=str(tmp_path / "plain"), set={"training.guiding_learning_rate": 0.0}))
    torch.testing.assert_close(model.E.style_head.weight, tuned.E.style_head.weight)


def test_fine_tuning_from_other_shapes(config: Begin, tmp_path: Path) -> None:
    TUNIT(config(set={"model.generator_width": 8}).model).save_pretrained(tmp_path / "wide")
    with pytest.raises(ValueError, match="has networks of other shapes than this run"):
        trained(config(init=str(tmp_path / "wide")))
    with pytest.raises(FileNotFoundError, match="is not a model folder"):
        trained(config(init=str(tmp_path / "no"), out=str(tmp_path / "other")))


def test_shape_codes_are_needed_by_the_recipe_that_contrasts_them(config: Begin) -> None:
    with pytest.raises(ValueError, match="projection_dim"):
        trained(config(set={"model.projection_dim": 0, "training.prototypes_start": 0.0}))


@pytest.mark.parametrize(("given", "expected"), [
    ({"domains": 1}, "domains is 1; at least 2 are needed"),
    ({"size": 48}, r"size is 48; it must be one of 32, 64, 128, 256, 512"),
    ({"set": {"training.batch": 1}}, "batch is 1"),
    ({"minutes": 0.0}, "minutes is 0.0; it must be above 0"),
    ({"device": "abacus"}, "device 'abacus' is not available"),
    ({"data": "critters:1"}, "critters:K with K from 2 to"),
])  # fmt: skip
def test_settings_that_cannot_be(config: Begin, tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        trained(config(**given))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_settings_without_effect_change_nothing(picture_folder: Path, tmp_path: Path, preset: str) -> None:
    """From scratch; test_pretrained_runs.py has the third recipe."""
    others = {"model.trunk_side": 99, "training.feature_weight": 3.0}
    if preset == "paper":
        others |= {"training.pair_steps": 1, "training.pair_share": 0.5, "training.pair_weight": 2.0}
        others |= {"data.views.domain_colour": False}
    assert set(others) == without_effect(RECIPES[PRESETS[preset]["recipe"]])
    given = {"preset": preset, "size": 32, "steps": 3}
    runs = [
        train_tiny(picture_folder, tmp_path / str(number), overrides=changed, **given)
        for number, changed in enumerate(({}, others))
    ]
    first, second = ((run / "model" / "model.safetensors").read_bytes() for run in runs)
    assert first == second


def test_weights_that_are_missing_are_told_before_the_pictures_are_read(
    picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "load_backbone", backbone.load_backbone)
    monkeypatch.setattr(backbone, "_package_folder", lambda: None)
    monkeypatch.setattr(opening, "open_dataset", None)
    config = Config.preset("photos", data=str(picture_folder), out=str(tmp_path / "run"), steps=2)
    with pytest.raises(ValueError, match=re.escape(backbone.HOW_TO_INSTALL)):
        train(config)
    with pytest.raises(ValueError, match=re.escape(backbone.HOW_TO_INSTALL)):
        preview(config)
    assert not (tmp_path / "run").exists()
