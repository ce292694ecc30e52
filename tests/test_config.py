"""Settings: presets, YAML in and out, what makes two runs the same, and one clear line for what cannot be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from open_tunit.settings.config import (
    FORMAT_VERSION,
    PRESETS,
    SIZES,
    Config,
    ConfigError,
    Model,
    Training,
    called,
    model_from_dict,
)
from open_tunit.settings.recipes import RECIPES
from open_tunit.training import plan
from open_tunit.training.steps.state import GUIDING_WEIGHT_DECAY


def preset(name: str = "paper", **settings: Any) -> Config:
    return Config.preset(name, **{"data": "photos", "out": "runs/photos"} | settings)


def test_the_paper_preset_is_the_published_one() -> None:
    config = preset(domains=10)
    model, training, D, recipe = config.model, config.training, config.discriminator, RECIPES[config.recipe]
    assert (model.size, model.style_dim, model.guiding_width, model.guiding_depths) == (128, 128, 64, (1, 1, 2, 2, 2))
    assert (model.generator_width, model.generator_blocks, model.style_mlp_width) == (64, 2, 256)
    assert (D.width, D.max_width, recipe.normalize_contrast, recipe.plain_start) == (64, 1024, False, False)
    assert (training.steps, training.batch, training.guiding_batch, training.queue) == (200_000, 32, None, 1024)
    assert training.steps * training.guiding_share == pytest.approx(65_000)
    assert (plan.LABELLED_ONLY_STEPS, plan.SEMI_JOINT_START, plan.LABEL_WEIGHT) == (20_000, 35_000, 5)
    assert (recipe.domain_objective, recipe.pseudo_labels) == ("mutual_information", "online")
    assert (training.adversarial, training.optimizer, training.schedule) == ("hinge", "rmsprop", "joint")
    assert (recipe.domain_weight, training.guiding_weight) == (5, 0.1)
    assert (training.reconstruction_weight, training.translation_style_weight) == (0.1, 0.01)
    assert (training.r1_weight, training.r1_every, training.temperature) == (10, 1, 0.07)
    assert (recipe.early_style_weight, recipe.shape_weight, training.prototypes_start) == (1, 0, 0)
    assert (training.guiding_learning_rate, training.learning_rate) == (1e-4, 1e-4)
    assert (GUIDING_WEIGHT_DECAY, training.weight_decay, training.average_decay) == (1e-3, 1e-4, 0.999)
    assert (recipe.average_warmup, recipe.contrast_in_batch, recipe.measure_statistics) == (False,) * 3
    views = config.data.views
    assert (views.flip, views.affine, views.crop, views.colour, recipe.outside) == (True, True, True, True, "black")
    assert (recipe.geometry, config.data.fit, config.precision) == ("published", "squash", "float32")


def test_what_is_given_comes_before_the_preset() -> None:
    assert preset(precision="bfloat16").precision == "bfloat16"
    assert preset(overrides={"precision": "auto", "data.fit": "crop"}).precision == "auto"
    assert preset(overrides={"data.fit": "crop"}).data.fit == "crop"
    assert preset("cpu").precision == "auto"
    assert preset("cpu").data.fit == "crop"


@pytest.mark.parametrize("size", [256, 512])
def test_the_published_networks_are_half_as_wide_from_256(size: int) -> None:
    by_name = Config.preset("paper", data="x", out="y", overrides={"model.size": size})
    assert by_name.model == Config.preset("paper", data="x", out="y", size=size).model
    model = preset(size=size).model
    assert (model.generator_width, preset(size=size).discriminator.width) == (32, 32)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_every_preset_is_valid_at_every_size(name: str, size: int) -> None:
    config = preset(name, size=size, domains=7, steps=50, seed=3)
    assert config.preset_name == name
    assert (config.model.size, config.model.domains, config.training.steps, config.seed) == (size, 7, 50, 3)


def test_overrides_come_last() -> None:
    config = preset("cpu", steps=50, overrides={"training.steps": 60, "model.guiding_depths": [1, 1, 1, 1, 1]})
    assert config.training.steps == 60
    assert config.model.guiding_depths == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("name", ["cpu", "default"])
def test_where_the_style_code_reads_colours_x_plus_keeps_them_and_sides_too(name: str) -> None:
    config = preset(name)
    assert config.model.palette_dim > 0
    assert not config.data.views.colour
    assert not config.data.views.flip


def test_critters_know_their_domains_and_keep_their_colours() -> None:
    config = preset("cpu", data="critters:3")
    assert config.model.domains == 3
    assert not config.data.views.colour
    assert not preset("paper", data="critters:3").data.views.colour
    assert preset("cpu", data="critters:3", domains=4).model.domains == 4


@pytest.mark.parametrize("name", PRESETS)
def test_yaml_there_and_back(name: str) -> None:
    config = preset(name, minutes=2.5, overrides={"data.labels": "folders", "training.learning_rate": 1e-5})
    text = config.to_yaml()
    assert Config.from_yaml(text) == config
    assert yaml.safe_load(text)["format_version"] == FORMAT_VERSION
    assert Config.from_dict(config.to_dict()) == config


def test_numbers_may_be_written_as_people_do() -> None:
    text = (
        preset()
        .to_yaml()
        .replace("minutes: null", "minutes: 5")
        .replace("learning_rate: 0.0001", "learning_rate: 1e-4")
    )
    assert "1e-4" in text
    config = Config.from_yaml(text)  # YAML 1.1 reads 1e-4 as a string
    assert config.minutes == 5
    assert isinstance(config.minutes, float)
    assert config.training.learning_rate == 1e-4


def test_a_model_folders_config_is_read() -> None:
    model = preset("cpu").model
    assert model_from_dict(dataclasses.asdict(model)) == model


def test_a_config_cannot_be_changed_but_replaced() -> None:
    config = preset()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]
    changed = config.replace({"seed": 1, "training.batch": 16, "data.views.flip": False})
    assert (changed.seed, changed.training.batch, changed.data.views.flip) == (1, 16, False)
    assert (config.seed, config.training.batch, config.data.views.flip) == (0, 32, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": 3.0}, {"training.steps": 7}, {"training.joint_start": 7}, {"training.guiding_share": 0.5},
        {"device": "cuda"}, {"report_every": 3}, {"cache": "elsewhere"}, {"out": "elsewhere"},
        {"precision": "bfloat16"}, {"data.folder": "elsewhere"},
    ],
)  # fmt: skip
def test_budget_device_and_cadence_leave_a_run_the_same(changes: dict[str, Any]) -> None:
    config = preset()
    assert config.replace(changes) != config
    assert config.replace(changes).identity() == config.identity()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1}, {"data.folder": "critters:3"}, {"data.fit": "pad"}, {"data.labels": "folders"}, {"init": "model"},
        {"data.views.flip": False}, {"data.background": "#000000"}, {"data.label_fraction": 0.5}, {"model.domains": 3},
        {"model.style_dim": 5}, {"training.batch": 5}, {"training.adversarial": "log"}, {"training.queue": 5},
        {"training.learning_rate": 1.0}, {"training.schedule": "separate"}, {"training.average_decay": 0.5},
    ],
)  # fmt: skip
def test_everything_else_makes_another_run(changes: dict[str, Any]) -> None:
    assert preset().replace(changes).identity() != preset().identity()


def test_paths_that_are_here_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "folders").mkdir()
    for given in ("photos", str(tmp_path / "photos"), "photos/../photos", str(tmp_path / "folders" / ".." / "photos")):
        placed = preset(data=given).replace({"data.labels": "folders", "init": "user/name"}).placed()
        assert (placed.data.folder, placed.data.labels, placed.init) == (
            str(tmp_path / "photos"), "folders", "user/name",
        )  # fmt: skip
    assert preset(data="critters:3").placed().data.folder == "critters:3"


def test_what_a_folder_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "photos" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    monkeypatch.chdir(tmp_path / "photos")
    assert [called(name) for name in (".", "x/..", "../photos", "../link", "critters:5", "/")] == [
        "photos", "photos", "photos", "link", "critters:5", "/",
    ]  # fmt: skip


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"model.size": 48}, "size", "48"),
    ({"model.size": 1024}, "size", "1024"),
    ({"model.size": 128.0}, "model.size", "128.0"),
    ({"model.domains": 1}, "domains", "1"),
    ({"training.steps": True}, "training.steps", "True"),
    ({"model.style_dim": 0}, "style_dim", "0"),
    ({"model.style_dim": 8, "model.palette_dim": 8}, "palette_dim", "8"),
    ({"model.guiding_width": 1, "model.palette_dim": 21}, "palette_dim", "21"),
    ({"model.guiding_depths": [1, 2]}, "guiding_depths", "2"),
    ({"model.guiding_depths": [1, 1, 0, 1, 1]}, "guiding_depths", "0"),
    ({"model.guiding_depths": 3}, "model.guiding_depths", "3"),
    ({"model.generator_bottleneck": 12}, "generator_bottleneck", "12"),
    ({"model.generator_bottleneck": 128}, "generator_bottleneck", "128"),
    ({"discriminator.width": 2048}, "discriminator.width", "2048"),
    ({"model.projection_dim": -1}, "projection_dim", "-1"),
    ({"data.views.crop": "yes"}, "data.views.crop", "'yes'"),
    ({"training.steps": 0}, "steps", "0"),
    ({"training.steps": "many"}, "training.steps", "'many'"),
    ({"training.batch": 1}, "batch", "1"),
    ({"training.guiding_batch": 1}, "guiding_batch", "1"),
    ({"training.queue": 0}, "queue", "0"),
    ({"training.queue": 0}, "queue", "0"),
    ({"training.prototypes_start": 1.0}, "prototypes_start", "1.0"),
    ({"training.prototypes_start": 0.5}, "prototypes_start", "projection_dim"),
    ({"training.joint_start": -1}, "joint_start", "-1"),
    ({"training.guiding_share": 1.5}, "guiding_share", "1.5"),
    ({"training.average_decay": 1.0}, "average_decay", "1.0"),
    ({"training.temperature": 0}, "temperature", "0"),
    ({"training.learning_rate": "fast"}, "training.learning_rate", "'fast'"),
    ({"training.learning_rate": float("nan")}, "training.learning_rate", "nan"),
    ({"training.adversarial": "wasserstein"}, "training.adversarial", "'wasserstein'"),
    ({"training.momentum": 0.9}, "momentum", "training"),
    ({"training": 3}, "training", "3"),
    ({"data.label_fraction": 0}, "label_fraction", "0"),
    ({"data.fit": "stretch"}, "data.fit", "'stretch'"),
    ({"data.folder": ""}, "data", "empty"),
    ({"data.views.flop": True}, "flop", "data.views"),
    ({"training.adversarial": "white"}, "training.adversarial", "'white'"),
    ({"out": ""}, "out", "empty"),
    ({"seed": -1}, "seed", "-1"),
    ({"seed": None}, "seed", "None"),
    ({"minutes": 0}, "minutes", "0"),
    ({"report_every": 0}, "report_every", "0"),
    ({"precision": "float16"}, "precision", "'float16'"),
    ({"colour": "red"}, "colour", "config"),
    ({"seed.of": 1}, "seed.of", "not a setting"),
]


@pytest.mark.parametrize(("changes", "name", "came"), WRONG, ids=[str(changes) for changes, _, _ in WRONG])
def test_what_cannot_be_is_named_in_one_line(changes: dict[str, Any], name: str, came: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset().replace(changes)
    message = str(caught.value)
    assert name in message
    assert came in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ConfigError, match=r"preset is 'best'; expected one of paper, cpu, photos, photos-128, default"):
        preset("best")


@pytest.mark.parametrize("data", ["critters:few", "critters:-3"])
def test_a_wrong_number_of_critters_is_named(data: str) -> None:
    with pytest.raises(ConfigError, match=f"data is '{data}'; expected critters:K"):
        preset(data=data)


def test_unknown_settings_of_any_kind_are_named() -> None:
    with pytest.raises(ConfigError, match=r"training has no setting .*'speed'"):
        Config.from_yaml(preset().to_yaml().replace("training:\n", "training:\n  3: 4\n  speed: 5\n"))


def test_a_setting_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="config lacks recipe, data"):
        Config.from_dict({"preset_name": "paper", "out": "run"})


def test_a_newer_format_is_refused_in_one_line() -> None:
    text = preset().to_yaml().replace(f"format_version: {FORMAT_VERSION}", f"format_version: {FORMAT_VERSION + 1}")
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(text, name="runs/photos/config.yaml")
    message = str(caught.value)
    assert f"runs/photos/config.yaml has format_version {FORMAT_VERSION + 1}" in message
    assert "upgrade" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1", "no format_version"),
        ("format_version: one", "no format_version"),
        ("- a\n- b", "holds list"),
        ("", "holds NoneType"),
        ("a: [1,\nb: }", "not valid YAML"),
    ],
)
def test_text_that_is_no_config_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_yaml(text, name="some.yaml")
    assert str(caught.value).startswith("some.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_are_the_paper() -> None:
    config = preset()
    assert config.model == Model()
    assert config.training == Training()
