"""How many domains: the number at which views agree, and what a run and a sweep make of it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from rich.console import Console
from sklearn.metrics import mutual_info_score

from open_tunit import Config, train
from open_tunit.data.batches import Batch
from open_tunit.runs import DifferentRunError
from open_tunit.settings.conversion import ConfigError
from open_tunit.training.fitting.clustering import kmeans
from open_tunit.training.fitting.domain_count import LENGTH, PRICE, Curve, information_at, search_share, sweep
from open_tunit.training.pacing.budget import training_minutes
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.state import State
from open_tunit.training.steps.step import Step

TINY = {
    "model.style_dim": 8, "model.palette_dim": 3, "training.pair_steps": 0,
    "model.guiding_width": 4, "model.guiding_depths": [1, 1, 1, 1, 1], "model.projection_dim": 8,
    "model.generator_width": 4, "model.generator_blocks": 1, "model.style_mlp_width": 16,
    "discriminator.width": 4, "discriminator.max_width": 8, "training.batch": 4,
    "training.guiding_batch": 8, "training.joint_start": 4,
}  # fmt: skip


def asked(folder: Path, out: Path, preset: str = "cpu", set: dict[str, Any] | None = None, **fields: Any) -> Config:
    given: dict[str, Any] = {"domains": "auto", "size": 32, "steps": 6, "report_every": 3} | fields
    return Config.preset(preset, data=str(folder), out=str(out), overrides=TINY | (set or {}), **given)


def trained(config: Config) -> str:
    said = io.StringIO()
    train(config, console=Console(file=said, width=200))
    return said.getvalue()


def test_spoilt_weights_choose_no_number(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU their loss may not have been looked at."""
    config = asked(picture_folder, tmp_path / "run")
    honest, last = Step.__call__, round(LENGTH * Plan.of(config).domains_start)

    def spoil(self: Step, state: State, batch: Batch, phase: Phase) -> Any:
        terms = honest(self, state, batch, phase)
        if state.step == last:
            with torch.no_grad():
                state.E_ema.style_head.weight.fill_(float("nan"))
        return terms

    monkeypatch.setattr(Step, "__call__", spoil)
    with pytest.raises(NotFiniteError, match=f"weights are not finite after {last} steps of counting domains"):
        trained(config)
    assert not (tmp_path / "run" / "domains.json").exists()


@pytest.mark.parametrize("kinds", [3, 5, 8])
def test_the_true_number_scores_best(kinds: int) -> None:
    generator = torch.Generator().manual_seed(kinds)
    centres = F.normalize(torch.randn(kinds, 16, generator=generator), dim=1)
    place = centres[torch.arange(600) % kinds]
    inner = 0.25 * torch.randn(600, 16, generator=generator)  # what the views of one image share beside its kind
    codes, *viewed = (3 + place + inner + 0.2 * torch.randn(600, 16, generator=generator) for _ in range(3))
    counts = tuple(range(2, 12))
    found = [information_at(codes, torch.stack(viewed), k, np.random.default_rng(0)) for k in counts]
    assert Curve(counts=counts, information=tuple(found), seconds=0).chosen == kinds
    assert found[kinds - 2] > 0.7 * math.log(kinds)


def test_information_is_scikit_learns_of_the_same_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.eye(3).repeat(100, 1)
    codes, viewed = (corners + 0.3 * torch.randn(300, 3, generator=generator) for _ in range(2))
    middle = codes.mean(dim=0)
    centres = kmeans(F.normalize(codes - middle, dim=1), 3, np.random.default_rng(0))
    ours, theirs = ((F.normalize(x - middle, dim=1) @ centres.T).argmax(dim=1) for x in (codes, viewed))
    both = (torch.cat([ours, theirs]), torch.cat([theirs, ours]))  # the joint is made symmetric
    found = information_at(codes, viewed[None], 3, np.random.default_rng(0))
    assert found == pytest.approx(mutual_info_score(*both), rel=1e-9)


def test_views_that_tell_nothing_have_no_information() -> None:
    codes, *viewed = torch.randn(3, 600, 16, generator=torch.Generator().manual_seed(0))
    assert 0 <= information_at(codes, torch.stack(viewed), 4, np.random.default_rng(0)) < 0.02


def test_a_curve_shows_what_it_chose(tmp_path: Path) -> None:
    curve = Curve(counts=(2, 3, 4), information=(0.5, 1.0, 1.1), seconds=1.0)
    scores = [0.5 - PRICE * math.log(2), 1.0 - PRICE * math.log(3), 1.1 - PRICE * math.log(4)]
    assert curve.scores == pytest.approx(scores)
    assert curve.chosen == 3
    assert [("chosen" in line, line.split("#")[0].split()) for line in curve.lines()] == [
        (False, ["2", "domains", "information", "0.500", "score", "+0.038"]),
        (True, ["3", "domains", "information", "1.000", "score", "+0.268"]),
        (False, ["4", "domains", "information", "1.100", "score", "+0.176"]),
    ]
    assert [line.count("#") for line in curve.lines()] == [1, 21, 13]
    curve.save(tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "domains.json").read_text())
    assert saved.pop("scores") == pytest.approx(scores)
    assert saved == {"chosen": 3, "counts": [2, 3, 4], "information": [0.5, 1.0, 1.1], "seconds": 1.0, "price": PRICE}


def test_a_run_finds_its_number_once(picture_folder: Path, tmp_path: Path) -> None:
    config = asked(picture_folder, tmp_path / "run")
    said = trained(config)
    curve = json.loads((tmp_path / "run" / "domains.json").read_text())
    assert curve["counts"] == [2]  # 21 images, 10 for each domain
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (stored["model"]["domains"], stored["auto_domains"]) == (2, True)
    assert "finding the number of domains: step 4 of 4, 0 s left" in said
    assert "2 domains  information" in said
    assert "no more than 2 domains are tried: each needs 10 training images" in said
    again = trained(config.replace({"training.steps": 7}))
    assert "going on from step 6 of 7" in again
    assert "finding the number" not in again
    with pytest.raises(DifferentRunError, match="auto_domains is True there and False here"):
        trained(asked(picture_folder, tmp_path / "run", domains=3))


def test_a_sweep_is_a_function_of_its_seed(picture_folder: Path, tmp_path: Path) -> None:
    curves = [
        sweep(asked(picture_folder, tmp_path / "out", seed=seed), range(2, 9), console=Console(file=io.StringIO()))
        for seed in (1, 1, 2)
    ]
    assert curves[0].information == curves[1].information != curves[2].information
    assert not (tmp_path / "out").exists()


def test_a_sweep_tells_what_is_left_out(picture_folder: Path, tmp_path: Path) -> None:
    (picture_folder / "phone.heic").write_bytes(b"x")
    said = io.StringIO()
    sweep(asked(picture_folder, tmp_path / "out"), range(2, 4), console=Console(file=said))
    assert said.getvalue().startswith("warning: 1 left out: phone.heic is HEIC")


def test_the_search_trains_e_alone(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[Phase] = []
    original = Step.__call__

    def spied(self: Step, state: State, batch: Batch, phase: Phase) -> Any:
        phases.append(phase)
        return original(self, state, batch, phase)

    monkeypatch.setattr(Step, "__call__", spied)
    config = asked(picture_folder, tmp_path, set={"training.joint_start": 4, "training.prototypes_start": 0.9})
    sweep(config, range(2, 9), console=Console(file=io.StringIO()))
    assert len(phases) == 6  # half as many again as the 4 before prototypes
    assert not any(phase.train_generator or phase.learn_domains for phase in phases)


@pytest.mark.parametrize("preset", ["cpu", "default"])
def test_finding_the_number_costs_at_most_three_phases(preset: str, tmp_path: Path) -> None:
    config = asked(tmp_path, tmp_path, preset=preset)
    assert 1 + search_share(config) / config.training.guiding_share <= 3


def test_time_for_the_search_is_put_aside(tmp_path: Path) -> None:
    found = asked(tmp_path, tmp_path, set={"training.guiding_share": 0.4, "training.prototypes_start": 0.5})
    assert search_share(found) == pytest.approx(0.3)
    assert search_share(asked(tmp_path, tmp_path, domains=4)) == 0
    assert training_minutes(dataclasses.replace(found, minutes=13.0)) == pytest.approx(10)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preset": "paper"}, "domains is auto, which needs the shape contrast"),
        ({"set": {"data.labels": "folders"}}, "leave one out"),
        ({"set": {"training.joint_start": 0}}, "training.joint_start must be above 0"),
    ],
)
def test_runs_that_cannot_find_a_number(picture_folder: Path, tmp_path: Path, fields: Any, said: str) -> None:
    for kind in ("disc", "stripe"):
        (picture_folder / kind).mkdir()
        for path in picture_folder.glob(f"{kind}_*.png"):
            path.rename(picture_folder / kind / path.name)
    with pytest.raises(ConfigError, match=said):
        trained(asked(picture_folder, tmp_path / "run", **fields))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_too_few_images_for_the_numbers_in_question(picture_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="21 training images are too few to find a number of domains among 3 to 5"):
        sweep(asked(picture_folder, tmp_path), range(3, 6), console=Console(file=io.StringIO()))
