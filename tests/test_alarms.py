"""Alarms: silent where all is well, ringing on states and runs made to fail, and said once."""

from __future__ import annotations

import colorsys
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from open_tunit import TUNIT, Config, train
from open_tunit.data.views import Views
from open_tunit.media import images
from open_tunit.settings.config import Model
from open_tunit.training.plan import Plan
from open_tunit.training.reports.alarms import (
    ALARMS,
    Watch,
    domain_alarms,
    domains_in_views,
    generator_alarms,
    sentences,
)

COUNT = 32
"""Pictures of each kind."""
VIEW = Views(domain_colour=True, outside="reflect")
STILL = Views(affine=False, crop=False, colour=False)
"""Nothing but a mirror image."""


def model_of(domains: int) -> TUNIT:
    torch.manual_seed(1)
    config = Model(
        size=32, domains=domains, style_dim=8, guiding_width=8, generator_width=4, style_mlp_width=16,
    )  # fmt: skip
    model = TUNIT(config).eval()
    return model


def kinds() -> np.ndarray:
    """Three kinds of grey pictures, COUNT each in turn: a white ring, fine stripes, a dark square."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] - 15.5
    drawn = []
    for _ in range(COUNT):
        shift = generator.uniform(-0.4, 0.4, 2)
        ring = np.abs(np.hypot(x - shift[0], y - shift[1]) - 9) < 2
        stripes = (x + shift[0]) % 4 < 2
        square = np.maximum(np.abs(x - shift[0]), np.abs(y - shift[1])) > 7
        drawn.append([np.where(shape, 240, 60) for shape in (ring, stripes, square)])
    grey = np.array(drawn).swapaxes(0, 1).reshape(-1, 32, 32) + generator.normal(0, 15, (3 * COUNT, 32, 32))
    return np.repeat(grey[..., None], 3, axis=3).clip(0, 255).astype(np.uint8)


def hues() -> np.ndarray:
    """Four plain colours a quarter turn apart, COUNT each in turn."""
    colours = [colorsys.hsv_to_rgb(turn / 4 + 0.05, 0.9, 0.9) for turn in range(4)]
    flat = np.array([colour for colour in colours for _ in range(COUNT)]) * 255
    return np.broadcast_to(flat[:, None, None].astype(np.uint8), (len(flat), 32, 32, 3)).copy()


def sort_into(model: TUNIT, pixels: np.ndarray, groups: list[int]) -> None:
    """Set the domain head so that kind i, COUNT pictures each in turn, goes to the domain groups[i]."""
    with torch.no_grad():
        features = model.E.trunk(images.from_uint8(pixels)).mean(dim=(2, 3))
        targets = torch.tensor(groups).repeat_interleave(COUNT)
        wanted = torch.nn.functional.one_hot(targets, model.config.domains).float()
        middle, spread = features.mean(dim=0), features.std(dim=0) + 1e-6
        solution = torch.linalg.lstsq(
            (features - middle) / spread, wanted - wanted.mean(dim=0), driver="gelsd"
        ).solution
        model.E.domain_head.weight.copy_((solution / spread[:, None]).T)
        model.E.domain_head.bias.copy_(wanted.mean(dim=0) - (middle / spread) @ solution)
    assert model.domains(images.from_uint8(pixels)).argmax(dim=1).tolist() == targets.tolist()


def ringing(values: dict[str, float]) -> set[str]:
    return {name for name, value in values.items() if ALARMS[name].rings(value)}


def now(model: TUNIT, pixels: np.ndarray, view: Views = STILL, first: np.ndarray | None = None) -> dict[str, float]:
    labels, viewed = domains_in_views(model, pixels, view)
    return domain_alarms(labels, viewed, labels if first is None else first, model.config.domains)


def test_three_kinds_in_three_domains_are_well() -> None:
    pixels, model = kinds(), model_of(3)
    sort_into(model, pixels, [0, 1, 2])
    values = now(model, pixels)
    assert values["empty_domain"] == 1
    assert values["merged_domains"] == 0
    assert values["unstable_labels"] < 0.1
    assert ringing(values) == set()


def test_an_empty_domain_rings() -> None:
    pixels, model = kinds(), model_of(4)
    sort_into(model, pixels, [0, 1, 3])
    assert now(model, pixels)["empty_domain"] == 0
    assert ringing(now(model, pixels)) == {"empty_domain"}


def test_domains_of_which_one_has_all_images_ring() -> None:
    pixels, model = kinds(), model_of(3)
    sort_into(model, pixels, [1, 1, 1])
    assert now(model, pixels)["one_domain"] == 1
    assert ringing(now(model, pixels)) == {"empty_domain", "one_domain"}


def test_two_domains_that_become_one_ring() -> None:
    pixels, model = kinds(), model_of(3)
    sort_into(model, pixels, [0, 1, 2])
    first, _ = domains_in_views(model, pixels, STILL)
    sort_into(model, pixels, [1, 1, 2])
    values = now(model, pixels, first=first)
    assert values["merged_domains"] == 1
    assert ringing(values) == {"merged_domains", "empty_domain"}


def test_how_far_two_domains_have_merged() -> None:
    first = np.repeat([0, 1, 2], 20)
    labels = np.concatenate([[0] * 14 + [1] * 6, [1] * 20, [2] * 19 + [1]])
    assert domain_alarms(labels, labels, first, 3)["merged_domains"] == pytest.approx(6 / 20)
    swapped = np.repeat([2, 0, 1], 20)
    assert domain_alarms(swapped, swapped, first, 3)["merged_domains"] == 0
    few = np.where(np.arange(60) < 3, 2, 0)  # a first domain of three images says nothing
    assert domain_alarms(few * 0, few * 0, few, 3)["merged_domains"] == 0


def test_domains_that_are_colours_are_unstable_to_recolouring() -> None:
    pixels, model = hues(), model_of(4)
    sort_into(model, pixels, [0, 1, 2, 3])
    assert ringing(now(model, pixels, VIEW)) == {"unstable_labels"}
    assert now(model, pixels)["unstable_labels"] == 0


def test_a_generator_that_ignores_the_style_rings() -> None:
    pixels, model = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), model_of(3)
    assert generator_alarms(model, pixels)["ignored_style"] > 0
    with torch.no_grad():
        last = model.G.mlp[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.zero_()
    values = generator_alarms(model, pixels)
    assert values["ignored_style"] == pytest.approx(0, abs=1e-6)
    assert "ignored_style" in ringing(values)


class Painter(TUNIT):
    """Redraws every source as a share of its reference."""

    share = 0.0

    def grid(self, sources: Any, references: Any) -> Tensor:
        return torch.lerp(sources[:, None].expand(-1, len(references), -1, -1, -1), references[None], self.share)


@pytest.mark.parametrize(("share", "rings"), [(0.0, {"ignored_style"}), (0.2, set()), (1.0, {"copied_content"})])
def test_a_generator_that_copies_the_reference_rings(share: float, rings: set[str]) -> None:
    model = Painter(Model(size=32, domains=2, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16))
    model.share = share
    generator = np.random.default_rng(1)
    coarse = generator.integers(0, 256, (16, 6, 6, 3), dtype=np.uint8)
    values = generator_alarms(model, np.kron(coarse, np.ones((1, 6, 6, 1), dtype=np.uint8))[:, 2:34, 2:34])
    assert ringing(values) == rings
    assert values["ignored_style"] == pytest.approx(share, abs=1e-5)
    assert values["copied_content"] == (1.0 if share == 1 else 0.0)


def test_an_alarm_warns_when_it_begins_to_ring() -> None:
    good, bad = {"unstable_labels": 0.1, "empty_domain": 0.9}, {"unstable_labels": 0.42, "empty_domain": 0.9}
    (said,) = sentences(bad, good)
    assert said.startswith("unstable_labels: pseudo labels are unstable: 42% of the images")
    assert sentences(bad, {}) == [said]
    assert sentences(bad, bad) == []
    assert sentences(good, bad) == []


def test_what_is_measured_when() -> None:
    overrides = {"training.joint_start": 20, "training.prototypes_start": 0.5, "training.pair_steps": 0}
    plan = Plan.of(Config.preset("cpu", data="photos", out="run", domains=3, steps=120, overrides=overrides))
    model, watch = model_of(3), Watch(kinds())
    measured = {step: set(watch.measure(model, plan, plan.phase(step))) for step in (9, 10, 20, 29, 30)}
    of_domains = {"empty_domain", "one_domain", "merged_domains", "unstable_labels"}
    everything = of_domains | {"ignored_style", "copied_content"}
    assert measured == {9: set(), 10: of_domains, 20: of_domains, 29: of_domains, 30: everything}
    assert watch.first == domains_in_views(model, kinds(), plan.views)[0].tolist()
    labelled = dataclasses.replace(plan, supervision="all")
    supervised = watch.measure(model, labelled, labelled.phase(30))
    assert set(supervised) == everything - of_domains


def test_a_run_logs_its_alarms_and_says_them_once(picture_folder: Path, tmp_path: Path) -> None:
    overrides = {
        "model.style_dim": 8, "model.palette_dim": 3,
        "model.guiding_width": 4, "model.projection_dim": 8, "model.generator_width": 4,
        "model.style_mlp_width": 16, "discriminator.width": 4, "discriminator.max_width": 8,
        "training.batch": 4, "training.guiding_batch": 8, "training.prototypes_start": 0.5, "training.joint_start": 2,
        "training.pair_steps": 0,
    }  # fmt: skip
    config = Config.preset(
        "cpu", data=str(picture_folder), out=str(tmp_path / "run"), domains=30, steps=5, report_every=1,
        overrides=overrides,
    )  # fmt: skip
    said = io.StringIO()
    train(config, console=Console(file=said, width=200))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    logged = [{n.removeprefix("alarm/"): v for n, v in line.items() if n.startswith("alarm/")} for line in lines]
    assert [set(values) & set(ALARMS) for values in logged] == [set(values) for values in logged]
    assert "empty_domain" not in logged[0]
    assert [values["empty_domain"] for values in logged[1:]] == [0] * 4  # 30 domains, 21 images
    assert said.getvalue().count("warning: empty_domain: the smallest domain is nearly empty") == 1
    said = io.StringIO()
    train(config.replace({"training.steps": 6}), console=Console(file=said, width=200))
    assert "going on from step 5 of 6" in said.getvalue()
    assert "empty_domain" not in said.getvalue()


def test_a_run_whose_generator_cannot_learn_rings(tmp_path: Path) -> None:
    """G keeps its first, plain weights, in which the style code says nothing; E has hardly begun."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, pixels in enumerate(kinds()[::4]):
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    config = Config.preset(
        "cpu", data=str(folder), out=str(tmp_path / "run"), domains=8, steps=4, report_every=1,
        overrides={
            "model.style_dim": 8, "model.palette_dim": 3, "model.guiding_width": 4, "model.projection_dim": 8,
            "model.generator_width": 4, "model.style_mlp_width": 16, "discriminator.width": 4,
            "discriminator.max_width": 8, "training.batch": 4, "training.guiding_batch": 8,
            "training.joint_start": 2, "training.learning_rate": 1e-12, "training.pair_steps": 0,
        },
    )  # fmt: skip
    said = io.StringIO()
    train(config, console=Console(file=said, width=200))
    assert said.getvalue().count("warning: ignored_style: the style code is ignored") == 1
    assert said.getvalue().count("warning: empty_domain: the smallest domain is nearly empty") == 1
