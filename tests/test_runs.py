"""runs.py: the run directory."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny import (
    Begin,
    digests_of,
    lines_of,
    stored_settings,
    trained,
)

from open_tunit import Config
from open_tunit.runs import DifferentRunError
from open_tunit.settings.recipes import OURS, PAPER
from open_tunit.training.session.same_run import check_same_recipe
from open_tunit.training.steps.state import State


def test_a_checkpoints_recipe_is_the_one_asked_for() -> None:
    for recipe in (PAPER, OURS):
        check_same_recipe(dataclasses.asdict(recipe), recipe, Path("run"))
        check_same_recipe(None, recipe, Path("run"))
    with pytest.raises(DifferentRunError, match="shape_weight"):
        check_same_recipe(dataclasses.asdict(OURS), dataclasses.replace(OURS, shape_weight=2.0), Path("run"))


def test_checkpoints_without_a_geometry_moved_continuously() -> None:
    """A run of the paper's recipe that began before the published geometry does not go on with it."""
    ours, paper = dataclasses.asdict(OURS), dataclasses.asdict(PAPER)
    del ours["geometry"], paper["geometry"]
    check_same_recipe(ours, OURS, Path("run"))
    with pytest.raises(DifferentRunError, match="geometry"):
        check_same_recipe(paper, PAPER, Path("run"))


@pytest.mark.parametrize("part", ["D", "opt_G"])
def test_a_run_of_other_networks_says_so_and_stays_as_it_is(config: Begin, part: str) -> None:
    first = config()
    trained(first)
    newest = max((Path(first.out) / "checkpoints").glob("*.pt"))
    values = torch.load(newest, weights_only=True)
    inner = values[part]["param_groups"] if part == "opt_G" else values[part]
    inner.append(inner[0]) if isinstance(inner, list) else inner.pop(next(iter(inner)))
    torch.save(values, newest)
    before = digests_of(Path(first.out))
    with pytest.raises(DifferentRunError, match="does not fit this run's networks: it is of another version"):
        trained(first)
    assert digests_of(Path(first.out)) == before


def test_a_failing_device_is_not_taken_for_another_version(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    first = config()
    trained(first)

    def failing(self: State, values: dict[str, Any]) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(State, "load_state_dict", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trained(first)


@pytest.mark.parametrize(("changed", "named"), [
    ({"seed": 1}, "seed is 0 there and 1 here"),
    ({"set": {"training.learning_rate": 0.25}}, "training.learning_rate is 0.002 there and 0.25 here"),
    ({"domains": 3}, "model.domains is 2 there and 3 here"),
])  # fmt: skip
def test_a_different_run_in_the_same_folder(config: Begin, changed: dict[str, Any], named: str) -> None:
    first = config()
    trained(first)
    before = digests_of(Path(first.out))
    with pytest.raises(DifferentRunError) as caught:
        trained(config(**changed))
    assert named in str(caught.value)
    assert digests_of(Path(first.out)) == before


def test_other_images_are_another_run(config: Begin, picture_folder: Path) -> None:
    first = config()
    trained(first)
    before = digests_of(Path(first.out))
    Image.new("RGB", (48, 40), "green").save(picture_folder / "stripe_00.png")
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        trained(first)
    assert digests_of(Path(first.out)) == before


def test_more_images_are_named_as_such(config: Begin, picture_folder: Path) -> None:
    first = config()
    trained(first)
    for index in range(6):
        Image.new("RGB", (48, 40), (index * 40, 90, 30)).save(picture_folder / f"more_{index}.png")
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        trained(first)
    with pytest.raises(DifferentRunError, match=r"a different run \(seed is 0 there and 1 here\)"):  # no fitted queue
        trained(config(seed=1))


def test_folders_that_are_no_run(config: Begin, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(DifferentRunError, match=r"run is not empty and holds no run"):
        trained(config())
    assert digests_of(tmp_path / "run") == {"thesis.txt": hashlib.sha256(b"mine").hexdigest()}
    (tmp_path / "run" / "config.yaml").write_text("model: resnet\n")
    with pytest.raises(ValueError, match=r"config\.yaml has no format_version"):
        trained(config())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DifferentRunError, match="is a file; name a folder for the run"):
        trained(config(out=str(tmp_path / "file")))
    with pytest.raises(ValueError, match="cannot write the run in"):
        trained(config(out=str(tmp_path / "file" / "run")))
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_used(config: Begin, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    asked = config(steps=1)
    trained(asked)
    assert [line["step"] for line in lines_of(asked)] == [1]


def test_a_runs_own_config_is_the_same_run(config: Begin) -> None:
    asked = config()
    trained(asked)
    again = Config.from_yaml((Path(asked.out) / "config.yaml").read_text())
    _, said = trained(again)
    assert "finished: 4 steps" in said


def test_more_steps_extend_the_run_and_leave_the_joint_phase(config: Begin, tmp_path: Path) -> None:
    share = {"training.guiding_share": 0.5}
    short = config(steps=4, joint_start=None, set=share)
    trained(short)
    long = config(steps=8, joint_start=None, set=share)
    extended, said = trained(long)
    assert "going on from step 4 of 8" in said
    assert (stored_settings(long)["training"]["steps"], stored_settings(long)["training"]["joint_start"]) == (8, 2)
    assert [line["step"] for line in lines_of(long)] == [2, 4, 6, 8]
    straight, _ = trained(config(steps=8, joint_start=2, set=share, out=str(tmp_path / "straight")))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, extended.state_dict()[name]), name


@pytest.mark.parametrize("damage", ["cut", "empty", "junk", "list"])
def test_a_damaged_checkpoint_is_passed_over(config: Begin, damage: str) -> None:
    asked = config(steps=4, joint_start=0)
    straight, _ = trained(asked)
    newest = Path(asked.out) / "checkpoints" / "00000004.pt"
    whole = newest.read_bytes()
    newest.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "junk": b"0" * 99, "list": b"]."}[damage])
    with pytest.warns(UserWarning, match=r"00000004\.pt is damaged .*going back to an older checkpoint"):
        model, said = trained(asked)
    assert "going on from step 2 of 4" in said
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in straight.state_dict().items())
    assert [line["step"] for line in lines_of(asked)] == [2, 4]
    assert torch.load(newest, weights_only=True)["step"] == 4


def test_a_log_line_cut_by_a_crash_is_dropped(config: Begin) -> None:
    asked = config(steps=4)
    trained(asked)
    with (Path(asked.out) / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "pha')
    trained(config(steps=6))
    assert [line["step"] for line in lines_of(asked)] == [2, 4, 6]
