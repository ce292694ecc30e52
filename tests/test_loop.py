"""loop.py: what train() writes, phase by phase, and how it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny import (
    TRAINED,
    Begin,
    checkpoints_of,
    digests_of,
    into_class_folders,
    lines_of,
    stored_settings,
    trained,
)

from open_tunit import TUNIT
from open_tunit.settings.recipes import OURS
from open_tunit.training.session import turns
from open_tunit.training.session.monitor import Monitor
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.step import Step


def test_a_run_directory(config: Begin) -> None:
    asked = config(steps=6, joint_start=3, report_every=2)
    model, said = trained(asked)
    run = Path(asked.out)
    assert {path.name for path in run.iterdir()} - {"tensorboard"} == {
        "config.yaml", "data.json", "files.json", "log.jsonl", "samples", "checkpoints", "model",
    }  # fmt: skip
    files = {"config.json", "model.safetensors", "README.md", "examples"}
    assert {path.name for path in (run / "model").iterdir()} == files
    assert {path.name for path in (run / "model" / "examples").iterdir()} == {f"{index}.png" for index in range(8)}
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"{step:08d}.png" for step in (2, 4, 6)]
    assert checkpoints_of(asked) == ["00000004.pt", "00000006.pt"]
    for path in (run / "samples").iterdir():
        with Image.open(path) as picture:
            picture.verify()

    lines = lines_of(asked)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["phase"] for line in lines] == ["guiding", "joint", "joint"]
    for line in lines:
        assert line["images_per_second"] > 0
        assert any(name.startswith("loss/") for name in line)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert "loss/reconstruction" in lines[-1]
    assert "loss/reconstruction" not in lines[0]

    stored = stored_settings(asked)
    assert (stored["format_version"], stored["training"]["steps"], stored["training"]["joint_start"]) == (2, 6, 3)
    assert json.loads((run / "data.json").read_text())["train"] == TRAINED
    about = json.loads((run / "model" / "config.json").read_text())["about"]
    assert (about["step"], about["supervision"], about["data"]["name"]) == (6, "none", "pictures")
    assert sum(about["domain_counts"]) == TRAINED
    assert f"{TRAINED} training images from `pictures`" in (run / "model" / "README.md").read_text()
    loaded = TUNIT.from_pretrained(run / "model").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())
    assert "joint 6/6" in said


def test_the_model_is_the_average_of_the_checkpoint(config: Begin) -> None:
    asked = config()
    model, _ = trained(asked)
    state = torch.load(Path(asked.out) / "checkpoints" / "00000004.pt", weights_only=True)
    assert state["step"] == 4
    for name, value in model.G.state_dict().items():
        assert torch.equal(value, state["G_ema"][name])
    for name, value in model.E.named_parameters():
        assert torch.equal(value, state["E_ema"][name])
    assert not torch.equal(state["E_ema"]["palette_head.weight"], state["E"]["palette_head.weight"])


def test_the_palette_is_open_once_g_learns(config: Begin) -> None:
    model, _ = trained(config(set={"training.schedule": "separate"}))  # in which E learns nothing more
    assert model.E.palette_head is not None
    assert bool(model.E.palette_head.weight.any())


def test_the_joint_phase_gets_its_share_when_no_start_is_given(config: Begin) -> None:
    asked = config(steps=8, joint_start=None, set={"training.guiding_share": 0.25})
    trained(asked)
    assert stored_settings(asked)["training"]["joint_start"] == 2
    assert [line["phase"] for line in lines_of(asked)] == ["guiding", "joint", "joint", "joint"]


def test_the_finished_run_again_changes_nothing(config: Begin) -> None:
    asked = config()
    trained(asked)
    before = digests_of(Path(asked.out))
    _, said = trained(asked)
    assert "finished: 4 steps" in said
    assert digests_of(Path(asked.out)) == before


def test_folder_labels_supervise_and_are_joint_from_the_start(config: Begin, picture_folder: Path) -> None:
    into_class_folders(picture_folder)
    asked = config(steps=2, joint_start=None, domains=5, set={"data.labels": "folders"})
    model, said = trained(asked)
    assert model.about["supervision"] == "all"
    assert model.config.domains == 2
    assert "the labels name 2 domains: disc, stripe" in said
    assert stored_settings(asked)["training"]["joint_start"] == 0
    (line,) = lines_of(asked)
    assert line["phase"] == "joint"
    assert "loss/labels" in line
    assert "loss/prototypes" not in line


def test_supervision_never_resets_the_domain_head(config: Begin, picture_folder: Path) -> None:
    """Balanced prototypes are not used where every image is labelled."""
    into_class_folders(picture_folder)
    heads = []
    for start in (0.0, 0.75):
        set = {"data.labels": "folders", "training.prototypes_start": start, "training.guiding_learning_rate": 0.0}
        asked = config(steps=1, joint_start=None, set=set, out=str(picture_folder.parent / f"run{start}"))
        model, _ = trained(asked)
        heads.append(model.E.domain_head.weight)
    assert torch.equal(*heads)


def test_some_labels(config: Begin, picture_folder: Path) -> None:
    names = sorted(path.name for path in picture_folder.iterdir())
    rows = [f"{name},{name.split('_')[0]}" for name in names[::3]]
    table = picture_folder.parent / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]))
    recipe = dataclasses.replace(OURS, freeze_domains=False)
    asked = config(steps=6, joint_start=None, set={"data.labels": str(table)})
    model, _ = trained(asked, recipe=recipe)
    assert model.about["supervision"] == "some"
    assert stored_settings(asked)["training"]["joint_start"] == 3
    lines = lines_of(asked)
    assert all("loss/labels" in line for line in lines)
    assert [line["phase"] for line in lines] == ["guiding", "joint", "joint"]
    assert "loss/prototypes" in lines[-1]


@pytest.mark.parametrize("labels", [None, "some"])
def test_labels_are_propagated_once_where_no_image_has_a_label(
    config: Begin, picture_folder: Path, labels: str | None
) -> None:
    told: dict[str, Any] = {}
    if labels:
        table = picture_folder.parent / "labels.csv"
        names = sorted(path.name for path in picture_folder.iterdir())
        table.write_text("\n".join(["file,label", *(f"{name},{name.split('_')[0]}" for name in names[::3])]))
        told = {"data.labels": str(table)}
    heads = []
    for steps, seen in ((2, (1, 2)), (3, (3,))):  # a run keeps its newest two checkpoints
        asked = config(steps=steps, joint_start=1, report_every=1, set=told)
        trained(asked)
        for step in seen:
            values = torch.load(Path(asked.out) / "checkpoints" / f"{step:08d}.pt", weights_only=True)
            heads.append(values["E_ema"]["domain_head.weight"])
    assert torch.equal(heads[0], heads[1]) == bool(labels)
    assert torch.equal(heads[1], heads[2])


def test_reports_of_a_short_run_are_twenty_steps_apart(config: Begin) -> None:
    asked = config(steps=25, joint_start=25, report_every=None)
    trained(asked)
    assert [line["step"] for line in lines_of(asked)] == [20, 25]


@pytest.mark.parametrize("schedule", ["joint", "separate"])
def test_after_its_own_phase_E_learns_on_or_is_frozen(config: Begin, schedule: str) -> None:
    asked = config(steps=6, joint_start=2, set={"training.schedule": schedule})
    trained(asked)
    assert [line["phase"] for line in lines_of(asked)] == ["guiding", schedule, schedule]
    before, after = (
        torch.load(Path(asked.out) / "checkpoints" / f"{step:08d}.pt", weights_only=True) for step in (4, 6)
    )
    learned = [name for name in before["E"] if "running" not in name and "tracked" not in name]
    frozen = all(torch.equal(before["E"][name], after["E"][name]) for name in learned)
    assert frozen == (schedule == "separate")
    assert not torch.equal(before["G"]["encoder.stem.weight"], after["G"]["encoder.stem.weight"])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(config: Begin) -> None:
    asked = config(steps=8, joint_start=4, set={"training.learning_rate": 1e30})
    with pytest.raises(NotFiniteError, match=r"is not finite at step \d.*keeps the last good checkpoint"):
        trained(asked)
    model = TUNIT.from_pretrained(Path(asked.out) / "model")
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert model.about["step"] == 4
    assert checkpoints_of(asked) == ["00000002.pt", "00000004.pt"]


def test_weights_that_are_not_finite_are_never_saved(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update may overflow though its loss is finite; the next loss tells, but a report may come before it."""
    honest = Step.__call__

    def spoil(self: Step, state: Any, batch: Any, phase: Any) -> Any:
        terms = honest(self, state, batch, phase)
        if state.step == 4:
            with torch.no_grad():
                for G in (state.G, state.G_ema):
                    G.decoder.out.weight.fill_(float("nan"))
        return terms

    monkeypatch.setattr(Step, "__call__", spoil)
    asked = config(steps=6)
    with pytest.raises(NotFiniteError):
        trained(asked)
    model = TUNIT.from_pretrained(Path(asked.out) / "model")
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert checkpoints_of(asked) == ["00000002.pt"]


@pytest.mark.parametrize("turn", ["prototypes", "joint"])
def test_spoilt_weights_are_found_before_the_next_phase(
    config: Begin, monkeypatch: pytest.MonkeyPatch, turn: str
) -> None:
    """On a GPU their loss may not have been looked at."""
    honest, last = Step.__call__, {"prototypes": 2, "joint": 4}[turn]

    def spoil(self: Step, state: Any, batch: Any, phase: Any) -> Any:
        terms = honest(self, state, batch, phase)
        if state.step == last:
            with torch.no_grad():
                for E in (state.E, state.E_ema):
                    E.style_head.weight.fill_(float("nan"))
        return terms

    monkeypatch.setattr(Step, "__call__", spoil)
    asked = config(steps=8, joint_start=4, report_every=8)
    with pytest.raises(NotFiniteError, match=f"weights are not finite after step {last}; .*keeps the last good"):
        trained(asked)


def test_a_run_with_pairs_goes_on_to_the_bit(config: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of pairs is made anew in each session: it follows from the frozen E and the images."""
    monkeypatch.setattr(turns, "LEAST_CONFIDENCE", 0.0)
    pairs = {"training.pair_steps": 3, "training.pair_weight": 2.0, "data.views.flip": True}
    whole, said = trained(config(steps=8, set=pairs, out=str(tmp_path / "whole")))
    phases = ["guiding", "pairs", "joint", "joint"]
    assert [line["phase"] for line in lines_of(config(out=str(tmp_path / "whole")))] == phases, said
    for steps in (3, 4, 6, 8):  # within the pair phase, at its end, in the joint phase
        again, _ = trained(config(steps=8, set=pairs).replace({"training.steps": steps}))
    assert "loss/pairs" in lines_of(config())[-1]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_unlike_pictures_are_trained_without_pairs(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEAST_CONFIDENCE", 1.1)
    asked = config(steps=6, set={"training.pair_steps": 3})
    _, said = trained(asked)
    assert "warning: too few images are like one of another domain" in said
    assert [line["phase"] for line in lines_of(asked)] == ["guiding", "joint", "joint"]
    assert stored_settings(asked)["training"]["pair_steps"] == 0
    _, said = trained(config(steps=8, set={"training.pair_steps": 3}))  # goes on, without them
    assert "going on from step 6 of 8" in said


def test_a_run_that_gave_up_pairs_and_was_killed_goes_on_to_the_bit(
    config: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LEAST_CONFIDENCE", 1.1)
    given: dict[str, Any] = {"steps": 5, "set": {"training.pair_steps": 2}}
    straight, _ = trained(config(out=str(tmp_path / "straight"), **given))
    count = Monitor.step

    def killed(self: Monitor, terms: Any, step: int, *more: Any) -> None:
        if step == 3:  # the config says by now that there are no pairs; the last checkpoint is that of step 2
            raise MemoryError
        count(self, terms, step, *more)

    asked = config(**given)
    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "step", killed)
        with pytest.raises(MemoryError):
            trained(asked)
    assert stored_settings(asked)["training"]["pair_steps"] == 0
    resumed, said = trained(asked)
    assert "going on from step 2 of 5" in said
    weights = resumed.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in straight.state_dict().items())
