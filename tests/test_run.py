"""train(): what a run writes, what it refuses, and how it goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from open_tunit import TUNIT, Config, train
from open_tunit.media import images
from open_tunit.runs import DifferentRunError
from open_tunit.settings.recipes import OURS
from open_tunit.training import budget, loop, opening
from open_tunit.training.descent import NotFiniteError
from open_tunit.training.plan import Plan
from open_tunit.training.step import Step

TINY = {
    "model.style_dim": 8,
    "model.palette_dim": 3,
    "model.guiding_width": 4,
    "model.guiding_depths": [1, 1, 1, 1, 1],
    "model.projection_dim": 8,
    "model.generator_width": 4,
    "model.generator_blocks": 1,
    "model.style_mlp_width": 16,
    "discriminator.width": 4,
    "discriminator.max_width": 8,
    "training.batch": 4,
    "training.guiding_batch": 8,
    "training.prototypes_start": 0.5,
    "training.pair_steps": 0,
}
TRAINED = 21
"""Images of `picture_folder` that the split gives to training; a function of their contents."""

Begin = Callable[..., Config]


@pytest.fixture
def config(picture_folder: Path, tmp_path: Path) -> Begin:
    """config(steps=…, joint_start=…, set={…}, **fields): a tiny run of `picture_folder` in tmp_path/run."""

    def make(steps: int = 4, joint_start: int | None = 2, set: dict[str, Any] | None = None, **fields: Any) -> Config:
        given: dict[str, Any] = {
            "data": str(picture_folder), "out": str(tmp_path / "run"), "domains": 2, "size": 32, "report_every": 2,
        } | fields  # fmt: skip
        overrides = TINY | {"training.joint_start": joint_start} | (set or {})
        return Config.preset("cpu", steps=steps, overrides=overrides, **given)

    return make


def _train(config: Config, **given: Any) -> tuple[TUNIT, str]:
    """The model, and what was printed."""
    said = io.StringIO()
    return train(config, console=Console(file=said, width=200), **given), said.getvalue()


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much at each look, and stands still between."""
    return itertools.count(step=seconds).__next__


def _lines(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.out) / "log.jsonl").read_text().splitlines()]


def _stored(config: Config) -> dict[str, Any]:
    values = yaml.safe_load((Path(config.out) / "config.yaml").read_text())
    assert isinstance(values, dict)
    return values


def _checkpoints(config: Config) -> list[str]:
    return sorted(path.name for path in (Path(config.out) / "checkpoints").iterdir())


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "tensorboard"
    }


def test_a_terminal_has_a_line_of_progress(config: Begin) -> None:
    said = io.StringIO()
    train(config(steps=4), console=Console(file=said, width=300, force_terminal=True))
    for part in ("guiding", "joint", "step 4/4", "img/s", "reconstruction 0.", "0:00:00"):
        assert part in said.getvalue()


def test_plain_output_says_what_is_left(config: Begin, tmp_path: Path) -> None:
    guiding, first, last = (line for line in _train(config(steps=6))[1].splitlines() if " img/s " in line)
    assert "left" not in guiding
    assert re.search(r"^joint 4/6 \d+ img/s \d+ s left style_contrast", first)
    assert "left" not in last
    asked = config(steps=None, joint_start=None, minutes=0.1, report_every=1, out=str(tmp_path / "other"))
    _, said = _train(asked, clock=ticking(0.05))
    assert re.search(r"^guiding 1/\d+ \d+ img/s \d s left style_contrast", said, re.MULTILINE)


def test_tensorboard_gets_the_log(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(Path(config().out) / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def close(self) -> None:
            told.append(("closed", 0, 0))

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorboard")
    _train(config())
    logged = [
        (name, value, line["step"])
        for line in _lines(config())
        for name, value in line.items()
        if isinstance(value, (int, float)) and name != "step"
    ]
    assert told == [*logged, ("closed", 0, 0)]


def test_a_run_directory(config: Begin) -> None:
    asked = config(steps=6, joint_start=3, report_every=2)
    model, said = _train(asked)
    run = Path(asked.out)
    assert {path.name for path in run.iterdir()} - {"tensorboard"} == {
        "config.yaml", "data.json", "files.json", "log.jsonl", "samples", "checkpoints", "model",
    }  # fmt: skip
    files = {"config.json", "model.safetensors", "README.md", "examples"}
    assert {path.name for path in (run / "model").iterdir()} == files
    assert {path.name for path in (run / "model" / "examples").iterdir()} == {f"{index}.png" for index in range(8)}
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"{step:08d}.png" for step in (2, 4, 6)]
    assert _checkpoints(asked) == ["00000004.pt", "00000006.pt"]
    for path in (run / "samples").iterdir():
        with Image.open(path) as picture:
            picture.verify()

    lines = _lines(asked)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["phase"] for line in lines] == ["guiding", "joint", "joint"]
    for line in lines:
        assert line["images_per_second"] > 0
        assert any(name.startswith("loss/") for name in line)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert "loss/reconstruction" in lines[-1]
    assert "loss/reconstruction" not in lines[0]

    stored = _stored(asked)
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
    model, _ = _train(asked)
    state = torch.load(Path(asked.out) / "checkpoints" / "00000004.pt", weights_only=True)
    assert state["step"] == 4
    for name, value in model.G.state_dict().items():
        assert torch.equal(value, state["G_ema"][name])
    for name, value in model.E.named_parameters():
        assert torch.equal(value, state["E_ema"][name])
    assert not torch.equal(state["E_ema"]["palette_head.weight"], state["E"]["palette_head.weight"])


def test_the_palette_is_open_once_g_learns(config: Begin) -> None:
    model, _ = _train(config(set={"training.schedule": "separate"}))  # in which E learns nothing more
    assert model.E.palette_head is not None
    assert bool(model.E.palette_head.weight.any())


def test_the_joint_phase_gets_its_share_when_no_start_is_given(config: Begin) -> None:
    asked = config(steps=8, joint_start=None, set={"training.guiding_share": 0.25})
    _train(asked)
    assert _stored(asked)["training"]["joint_start"] == 2
    assert [line["phase"] for line in _lines(asked)] == ["guiding", "joint", "joint", "joint"]


def test_the_finished_run_again_changes_nothing(config: Begin) -> None:
    asked = config()
    _train(asked)
    before = _digests(Path(asked.out))
    _, said = _train(asked)
    assert "finished: 4 steps" in said
    assert _digests(Path(asked.out)) == before


@pytest.mark.parametrize(("changed", "named"), [
    ({"seed": 1}, "seed is 0 there and 1 here"),
    ({"set": {"training.learning_rate": 0.25}}, "training.learning_rate is 0.002 there and 0.25 here"),
    ({"domains": 3}, "model.domains is 2 there and 3 here"),
])  # fmt: skip
def test_a_different_run_in_the_same_folder(config: Begin, changed: dict[str, Any], named: str) -> None:
    first = config()
    _train(first)
    before = _digests(Path(first.out))
    with pytest.raises(DifferentRunError) as caught:
        _train(config(**changed))
    assert named in str(caught.value)
    assert _digests(Path(first.out)) == before


def test_other_images_are_another_run(config: Begin, picture_folder: Path) -> None:
    first = config()
    _train(first)
    before = _digests(Path(first.out))
    Image.new("RGB", (48, 40), "green").save(picture_folder / "stripe_00.png")
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        _train(first)
    assert _digests(Path(first.out)) == before


def test_more_images_are_named_as_such(config: Begin, picture_folder: Path) -> None:
    first = config()
    _train(first)
    for index in range(6):
        Image.new("RGB", (48, 40), (index * 40, 90, 30)).save(picture_folder / f"more_{index}.png")
    with pytest.raises(DifferentRunError, match=r"the images of .*pictures changed since"):
        _train(first)
    with pytest.raises(DifferentRunError, match=r"a different run \(seed is 0 there and 1 here\)"):  # no fitted queue
        _train(config(seed=1))


def test_folders_that_are_no_run(config: Begin, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(DifferentRunError, match=r"run is not empty and holds no run"):
        _train(config())
    assert _digests(tmp_path / "run") == {"thesis.txt": hashlib.sha256(b"mine").hexdigest()}
    (tmp_path / "run" / "config.yaml").write_text("model: resnet\n")
    with pytest.raises(ValueError, match=r"config\.yaml has no format_version"):
        _train(config())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DifferentRunError, match="is a file; name a folder for the run"):
        _train(config(out=str(tmp_path / "file")))
    with pytest.raises(ValueError, match="cannot write the run in"):
        _train(config(out=str(tmp_path / "file" / "run")))
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_used(config: Begin, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    asked = config(steps=1)
    _train(asked)
    assert [line["step"] for line in _lines(asked)] == [1]


def test_few_images_shrink_batches_and_queue_with_a_note(config: Begin) -> None:
    set = {"training.batch": 32, "training.guiding_batch": 64, "training.queue": 1000}
    asked = config(steps=2, joint_start=1, set=set)
    _, said = _train(asked)
    training = _stored(asked)["training"]
    assert (training["batch"], training["guiding_batch"], training["queue"]) == (TRAINED, TRAINED, TRAINED // 2)
    assert training["r1_weight"] == asked.training.r1_weight
    assert f"warning: {TRAINED} training images are few" in said
    assert f"the batch is {TRAINED} instead of 32" in said
    state = torch.load(Path(asked.out) / "checkpoints" / "00000002.pt", weights_only=True)
    assert state["keys"].shape == (TRAINED // 2, 8)


def test_a_runs_own_config_is_the_same_run(config: Begin) -> None:
    asked = config()
    _train(asked)
    again = Config.from_yaml((Path(asked.out) / "config.yaml").read_text())
    _, said = _train(again)
    assert "finished: 4 steps" in said


def test_fewer_than_ten_images_per_domain_are_told(config: Begin, tmp_path: Path) -> None:
    told = "21 training images are fewer than 10 for each of 3 domains: some will stay empty"
    said = _train(config(steps=1, domains=3))[1]
    assert told in said
    assert "expect domains to be found" not in said
    assert "for each of" not in _train(config(steps=1, domains=2, out=str(tmp_path / "enough")))[1]


def test_unreadable_files_are_counted(config: Begin, picture_folder: Path) -> None:
    (picture_folder / "broken [a].png").write_bytes(b"no picture")
    (picture_folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    asked = config(steps=1)
    _, said = _train(asked)
    assert "warning: 1 left out: broken [a].png is not an image, or of a kind that cannot be read\n" in said
    assert "warning: 1 left out: cut.jpg cannot be decoded\n" in said
    listed = json.loads((Path(asked.out) / "data.json").read_text())["unreadable"]
    assert [path for path, _ in listed] == ["broken [a].png", "cut.jpg"]


def test_what_became_of_each_file_is_told_each_time_and_read_once(
    config: Begin, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (40, 40))
    Image.fromarray(deep.astype(np.uint16)).save(picture_folder / "twelve.png")
    (picture_folder / "phone.heic").write_bytes(b"x")
    (picture_folder / ".DS_Store").write_bytes(b"x")
    read: list[str] = []
    original = images.read_image

    def counting(path: Path, **options: Any) -> Image.Image:
        read.append(path.name)
        return original(path, **options)

    monkeypatch.setattr(images, "read_image", counting)
    for steps in (1, 2):
        asked = config(steps=steps)
        _, said = _train(asked)
        files = Path(asked.out) / "files.json"
        assert "warning: 1 left out: phone.heic is HEIC, which is not read" in said
        assert "1 converted: twelve.png is 12-bit grey in 16 bits: white is taken to be 4095\n" in said
        assert f"what became of each file is in {files}\n" in said
        assert ".DS_Store" not in said
        uses = {row["file"]: row["use"] for row in json.loads(files.read_text())["files"]}
        assert len(uses) == 24 + 3
        assert uses["twelve.png"] == "used"
        assert (uses["phone.heic"], uses[".DS_Store"]) == ("left out", "passed over")
    assert len(read) == len(set(read)) == 25


def test_labels_without_a_picture_make_no_domain(config: Begin, picture_folder: Path) -> None:
    _into_folders(picture_folder)
    (picture_folder / "empty").mkdir()
    (picture_folder / "empty" / "a.heic").write_bytes(b"x")
    model, said = _train(config(steps=1, joint_start=None, domains=5, set={"data.labels": "folders"}))
    assert "empty/a.heic" in said
    assert model.config.domains == 2


def _into_folders(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        kind = path.name.split("_")[0]
        (folder / kind).mkdir(exist_ok=True)
        path.rename(folder / kind / path.name)


def test_folder_labels_supervise_and_are_joint_from_the_start(config: Begin, picture_folder: Path) -> None:
    _into_folders(picture_folder)
    asked = config(steps=2, joint_start=None, domains=5, set={"data.labels": "folders"})
    model, said = _train(asked)
    assert model.about["supervision"] == "all"
    assert model.config.domains == 2
    assert "the labels name 2 domains: disc, stripe" in said
    assert _stored(asked)["training"]["joint_start"] == 0
    (line,) = _lines(asked)
    assert line["phase"] == "joint"
    assert "loss/labels" in line
    assert "loss/prototypes" not in line


def test_supervision_never_resets_the_domain_head(config: Begin, picture_folder: Path) -> None:
    """Balanced prototypes are not used where every image is labelled."""
    _into_folders(picture_folder)
    heads = []
    for start in (0.0, 0.75):
        set = {"data.labels": "folders", "training.prototypes_start": start, "training.guiding_learning_rate": 0.0}
        asked = config(steps=1, joint_start=None, set=set, out=str(picture_folder.parent / f"run{start}"))
        model, _ = _train(asked)
        heads.append(model.E.domain_head.weight)
    assert torch.equal(*heads)


def test_some_labels(config: Begin, picture_folder: Path) -> None:
    names = sorted(path.name for path in picture_folder.iterdir())
    rows = [f"{name},{name.split('_')[0]}" for name in names[::3]]
    table = picture_folder.parent / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]))
    recipe = dataclasses.replace(OURS, freeze_domains=False)
    asked = config(steps=6, joint_start=None, set={"data.labels": str(table)})
    model, _ = _train(asked, recipe=recipe)
    assert model.about["supervision"] == "some"
    assert _stored(asked)["training"]["joint_start"] == 3
    lines = _lines(asked)
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
        _train(asked)
        for step in seen:
            values = torch.load(Path(asked.out) / "checkpoints" / f"{step:08d}.pt", weights_only=True)
            heads.append(values["E_ema"]["domain_head.weight"])
    assert torch.equal(heads[0], heads[1]) == bool(labels)
    assert torch.equal(heads[1], heads[2])


def test_reports_of_a_short_run_are_twenty_steps_apart(config: Begin) -> None:
    asked = config(steps=25, joint_start=25, report_every=None)
    _train(asked)
    assert [line["step"] for line in _lines(asked)] == [20, 25]


@pytest.mark.parametrize("schedule", ["joint", "separate"])
def test_after_its_own_phase_E_learns_on_or_is_frozen(config: Begin, schedule: str) -> None:
    asked = config(steps=6, joint_start=2, set={"training.schedule": schedule})
    _train(asked)
    assert [line["phase"] for line in _lines(asked)] == ["guiding", schedule, schedule]
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
        _train(asked)
    model = TUNIT.from_pretrained(Path(asked.out) / "model")
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert model.about["step"] == 4
    assert _checkpoints(asked) == ["00000002.pt", "00000004.pt"]


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
        _train(asked)
    model = TUNIT.from_pretrained(Path(asked.out) / "model")
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert _checkpoints(asked) == ["00000002.pt"]


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
        _train(asked)


def test_more_steps_extend_the_run_and_leave_the_joint_phase(config: Begin, tmp_path: Path) -> None:
    share = {"training.guiding_share": 0.5}
    short = config(steps=4, joint_start=None, set=share)
    _train(short)
    long = config(steps=8, joint_start=None, set=share)
    extended, said = _train(long)
    assert "going on from step 4 of 8" in said
    assert (_stored(long)["training"]["steps"], _stored(long)["training"]["joint_start"]) == (8, 2)
    assert [line["step"] for line in _lines(long)] == [2, 4, 6, 8]
    straight, _ = _train(config(steps=8, joint_start=2, set=share, out=str(tmp_path / "straight")))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, extended.state_dict()[name]), name


def test_minutes_become_steps_once(config: Begin) -> None:
    asked = config(joint_start=None, minutes=0.01, report_every=1000, set={"training.guiding_share": 0.3})
    asked = asked.replace({"training.batch": 2, "training.guiding_batch": 2})
    model, said = _train(asked, clock=ticking(0.005))
    training = _stored(asked)["training"]
    assert model.about["step"] == training["steps"] > training["joint_start"] > 0
    _, said = _train(asked)
    assert f"finished: {training['steps']} steps" in said
    assert _stored(asked)["training"] == training


@pytest.mark.parametrize(("steps", "noted"), [(99, True), (100, False)])
def test_minutes_too_few_to_learn_from(config: Begin, monkeypatch: pytest.MonkeyPatch, steps: int, noted: bool) -> None:
    def counted(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": steps, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", counted)
    _, said = _train(config(joint_start=None, minutes=0.001, report_every=1000), clock=ticking(0.1))
    assert (f"warning: --minutes 0.001 makes {steps} steps on this machine, too few to learn from" in said) == noted


def test_a_machine_that_becomes_slow_ends_the_run_in_time(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 1_000_000, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", hopeful)
    asked = config(joint_start=None, minutes=0.02, report_every=1_000_000)
    model, said = _train(asked, clock=ticking(0.01))
    steps = _stored(asked)["training"]["steps"]
    assert 100 < steps < 130  # a look at the clock per step
    assert f"0.02 minutes are up at step {steps} of 1000000 that were planned" in said
    assert model.about["step"] == steps
    assert [line["step"] for line in _lines(asked)] == [steps]
    assert _lines(asked)[0]["seconds"] == pytest.approx(1.2, abs=0.05)
    _, said = _train(asked)
    assert f"finished: {steps} steps" in said
    _train(asked.replace({"minutes": 0.03}), clock=ticking(0.01))
    assert _stored(asked)["training"]["steps"] > steps


def test_a_run_with_pairs_goes_on_to_the_bit(config: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of pairs is made anew in each session: it follows from the frozen E and the images."""
    monkeypatch.setattr(loop, "LEAST_CONFIDENCE", 0.0)
    pairs = {"training.pair_steps": 3, "training.pair_weight": 2.0, "data.views.flip": True}
    whole, said = _train(config(steps=8, set=pairs, out=str(tmp_path / "whole")))
    phases = ["guiding", "pairs", "joint", "joint"]
    assert [line["phase"] for line in _lines(config(out=str(tmp_path / "whole")))] == phases, said
    for steps in (3, 4, 6, 8):  # within the pair phase, at its end, in the joint phase
        again, _ = _train(config(steps=8, set=pairs).replace({"training.steps": steps}))
    assert "loss/pairs" in _lines(config())[-1]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_unlike_pictures_are_trained_without_pairs(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LEAST_CONFIDENCE", 1.1)
    asked = config(steps=6, set={"training.pair_steps": 3})
    _, said = _train(asked)
    assert "warning: the images of different domains are unlike each other" in said
    assert [line["phase"] for line in _lines(asked)] == ["guiding", "joint", "joint"]
    assert _stored(asked)["training"]["pair_steps"] == 0
    _, said = _train(config(steps=8, set={"training.pair_steps": 3}))  # goes on, without them
    assert "going on from step 6 of 8" in said


def test_a_run_that_is_faster_than_it_was_timed_uses_its_minutes(
    config: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timid(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 6, "training.joint_start": 2})

    monkeypatch.setattr(opening, "fitted_to_minutes", timid)
    monkeypatch.setattr(budget, "WORTHWHILE", 1)
    asked = config(joint_start=None, minutes=0.1, report_every=2)
    _train(asked, clock=ticking(0.05))
    steps = _stored(asked)["training"]["steps"]
    last = _lines(asked)[-1]
    assert (steps > 6, last["step"]) == (True, steps)
    assert 5 < last["seconds"] < 6.2
    assert f"finished: {steps} steps" in _train(asked)[1]


def test_a_run_keeps_es_share_of_the_time(config: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeful(plan: Plan, *arguments: Any, **keywords: Any) -> Plan:
        return plan.replace({"training.steps": 4000, "training.joint_start": 2000})

    monkeypatch.setattr(opening, "fitted_to_minutes", hopeful)
    share = {"training.guiding_share": 0.5}
    _train(config(joint_start=None, minutes=0.1, report_every=3, set=share), clock=ticking(0.05))
    phases = [line["phase"] for line in _lines(config())]
    assert {"guiding", "joint"} == set(phases)
    guiding = [line["seconds"] for line in _lines(config()) if line["phase"] == "guiding"]
    assert guiding[-1] < 6 * 0.8  # half of the time, and what the last report took


def test_fine_tuning_starts_from_a_models_weights(config: Begin, tmp_path: Path) -> None:
    first, _ = _train(config())
    still = {"training.learning_rate": 0.0, "training.guiding_learning_rate": 0.0, "training.prototypes_start": 0.0}
    tuned, _ = _train(config(steps=2, seed=5, init=str(tmp_path / "run" / "model"), out=str(tmp_path / "b"), set=still))
    fresh, _ = _train(config(steps=2, seed=5, out=str(tmp_path / "c"), set=still))
    for name, value in first.E.named_parameters():
        torch.testing.assert_close(value, tuned.E.get_parameter(name), msg=name)
    for name, value in first.G.named_parameters():
        torch.testing.assert_close(value, tuned.G.get_parameter(name), msg=name)
    assert not torch.equal(first.G.encoder.stem.weight, fresh.G.encoder.stem.weight)


def test_fine_tuning_to_another_number_of_domains(config: Begin, tmp_path: Path) -> None:
    first, _ = _train(config())
    still = {"training.learning_rate": 0.0, "training.guiding_learning_rate": 0.0}
    init = str(tmp_path / "run" / "model")
    tuned, _ = _train(config(steps=2, domains=3, init=init, out=str(tmp_path / "b"), set=still))
    assert tuned.domain_styles.shape == (3, 8)
    torch.testing.assert_close(first.E.style_head.weight, tuned.E.style_head.weight)


def test_fine_tuning_a_model_without_shape_codes(config: Begin, tmp_path: Path) -> None:
    """As an imported published checkpoint is."""
    torch.manual_seed(0)
    model = TUNIT(dataclasses.replace(config().model, projection_dim=0))
    model.save_pretrained(tmp_path / "plain")
    tuned, _ = _train(config(steps=2, init=str(tmp_path / "plain"), set={"training.guiding_learning_rate": 0.0}))
    torch.testing.assert_close(model.E.style_head.weight, tuned.E.style_head.weight)


def test_fine_tuning_from_other_shapes(config: Begin, tmp_path: Path) -> None:
    TUNIT(config(set={"model.generator_width": 8}).model).save_pretrained(tmp_path / "wide")
    with pytest.raises(ValueError, match="has networks of other shapes than this run"):
        _train(config(init=str(tmp_path / "wide")))
    with pytest.raises(FileNotFoundError, match="is not a model folder"):
        _train(config(init=str(tmp_path / "no"), out=str(tmp_path / "other")))


def test_shape_codes_are_needed_by_the_recipe_that_contrasts_them(config: Begin) -> None:
    with pytest.raises(ValueError, match="projection_dim"):
        _train(config(set={"model.projection_dim": 0, "training.prototypes_start": 0.0}))


@pytest.mark.parametrize("damage", ["cut", "empty", "junk", "list"])
def test_a_damaged_checkpoint_is_passed_over(config: Begin, damage: str) -> None:
    asked = config(steps=4, joint_start=0)
    straight, _ = _train(asked)
    newest = Path(asked.out) / "checkpoints" / "00000004.pt"
    whole = newest.read_bytes()
    newest.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "junk": b"0" * 99, "list": b"]."}[damage])
    with pytest.warns(UserWarning, match=r"00000004\.pt is damaged .*going back to an older checkpoint"):
        model, said = _train(asked)
    assert "going on from step 2 of 4" in said
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in straight.state_dict().items())
    assert [line["step"] for line in _lines(asked)] == [2, 4]
    assert torch.load(newest, weights_only=True)["step"] == 4


def test_a_log_line_cut_by_a_crash_is_dropped(config: Begin) -> None:
    asked = config(steps=4)
    _train(asked)
    with (Path(asked.out) / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "pha')
    _train(config(steps=6))
    assert [line["step"] for line in _lines(asked)] == [2, 4, 6]


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
        _train(config(**given))
    assert not (tmp_path / "run").exists()
