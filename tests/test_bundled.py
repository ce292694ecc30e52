"""The model that comes with the package: small, good for what it is, and never in the way of one's own."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.cli.main import main
from open_tunit.data.critters import SPECIES, Critter, critter, draw, true_answer
from open_tunit.model_files import places
from open_tunit.model_files.places import model_folder
from open_tunit.networks.guiding import GuidingNetwork
from open_tunit.settings.config import Model

ROOT = Path(__file__).parents[1]
FOLDER = model_folder("critters")
MOST_BYTES = 6_000_000
SEED, COUNT = 7, 200
"""Critters that neither training nor its script has seen."""
SHAPES = Model(size=32, domains=2, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model() -> TUNIT:
    return TUNIT.from_pretrained("critters")


@pytest.fixture(scope="module")
def drawn(model: TUNIT) -> list[Critter]:
    return [critter(SEED, index, species=model.config.domains) for index in range(COUNT)]


def _pictures(critters: list[Critter], size: int) -> torch.Tensor:
    pixels = np.stack([draw(one, size) for one in critters])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_it_is_small_and_stored_in_half_precision(model: TUNIT) -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= MOST_BYTES
    stored = safetensors.torch.load_file(FOLDER / "model.safetensors")
    kinds = {value.dtype for value in stored.values()}
    assert torch.float16 in kinds
    assert torch.float32 not in kinds
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_it_calls_the_species_by_their_names(model: TUNIT, drawn: list[Critter]) -> None:
    found = model.domains(_pictures(drawn, model.config.size)).argmax(dim=1).tolist()
    right = [model.naming.names[k] == SPECIES[one.species] for k, one in zip(found, drawn, strict=True)]
    assert np.mean(right) > 0.85


def test_its_translations_are_nearer_to_the_truth_than_the_sources(model: TUNIT, drawn: list[Critter]) -> None:
    size, references = model.config.size, drawn[1:] + drawn[:1]
    x, after = _pictures(drawn, size), _pictures(references, size)
    true = _pictures([true_answer(*pair) for pair in zip(drawn, references, strict=True)], size)
    assert (model.translate(x, after) - true).abs().mean() < 0.8 * (x - true).abs().mean()


def test_its_card_tells_where_it_comes_from(model: TUNIT) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = model.about["half_precision"]
    for said in (
        "license: apache-2.0", 'from_pretrained("critters")', f"`{model.about['data']['fingerprint']}`",
        f"at most {found['largest_difference']} of 255 levels", "`pseudo_label_accuracy`",
    ):  # fmt: skip
        assert said in card
    assert found["largest_difference"] <= 4
    assert (FOLDER / "samples.png").is_file()


def test_its_examples_show_every_species(model: TUNIT) -> None:
    examples = sorted((FOLDER / "examples").iterdir())
    assert len(examples) == 2 * model.config.domains
    with Image.open(examples[0]) as first:
        assert first.size == (model.config.size, model.config.size)
    assert set(model.domains(examples).argmax(dim=1).tolist()) == set(range(model.config.domains))


@pytest.fixture(scope="module")
def fruits() -> TUNIT:
    return TUNIT.from_pretrained("fruits")


def test_fruits_is_small_and_holds_no_other_networks_weights(fruits: TUNIT) -> None:
    folder = model_folder("fruits")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 12_000_000
    assert isinstance(fruits.E, GuidingNetwork)
    assert not any("trunk.top" in name for name in fruits.state_dict())
    stored = safetensors.torch.load_file(folder / "model.safetensors")
    assert torch.float32 not in {value.dtype for value in stored.values()}


def test_fruits_carries_its_attribution_and_licence() -> None:
    folder = model_folder("fruits")
    said = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert all(word in said for word in ("Fruits-360", "Oltean", "creativecommons.org/licenses/by-sa/4.0"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in card
    assert 'from_pretrained("fruits")' in card


def test_fruits_redraws_its_examples_in_each_others_domains(fruits: TUNIT) -> None:
    examples = sorted((model_folder("fruits") / "examples").iterdir())
    found = fruits.domains(examples).argmax(dim=1)
    assert set(found.tolist()) == set(range(4))
    redrawn = fruits.translate(fruits.squares(examples), fruits.squares(examples[1:] + examples[:1]))
    assert torch.equal(fruits.domains(redrawn).argmax(dim=1), found.roll(-1))


def test_fruits_parts_those_that_it_has_not_seen(fruits: TUNIT, fixtures: Path) -> None:
    paths = sorted((fixtures / "data" / "fruits4_100" / "test").glob("*/*"))[::8]
    found = fruits.domains(paths).argmax(dim=1).tolist()
    right = [fruits.naming.names[k] in path.parent.name for k, path in zip(found, paths, strict=True)]
    assert np.mean(right) >= 0.98


def test_a_model_here_of_its_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert TUNIT.from_pretrained(Path("critters")).config.domains == 5
    (tmp_path / "critters" / "cat").mkdir(parents=True)
    assert TUNIT.from_pretrained("critters").config.domains == 5, "a folder of pictures is no obstacle"
    TUNIT(SHAPES).save_pretrained(tmp_path / "critters" / "model")
    assert TUNIT.from_pretrained("critters").config == SHAPES, "a run of that name stands for its model"
    TUNIT(SHAPES).save_pretrained(tmp_path / "critters")
    assert TUNIT.from_pretrained("critters").config == SHAPES
    with pytest.raises(ValueError, match="only hub ids have revisions"):
        TUNIT.from_pretrained("critters", revision="main")


def _main(*words: object) -> int:
    return main([str(word) for word in words])


def test_several_are_known_by_their_folders(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("zebras", "fruits", "critters"):
        network = TUNIT(SHAPES)
        network.domain_counts.fill_(3)
        network.about = {"data": {"name": f"some {name}"}}
        network.save_pretrained(tmp_path / "package" / name)
    (tmp_path / "package" / "unfinished").mkdir()
    monkeypatch.setattr(places, "BUNDLED", tmp_path / "package")
    assert places.bundled_names() == ("critters", "fruits", "zebras")
    assert model_folder("fruits") == tmp_path / "package" / "fruits"
    with pytest.raises(FileNotFoundError, match="a bundled checkpoint is called fruits"):
        model_folder("fruit")
    words = ("translate", "--model", "fruits", "--source", picture_folder / "disc_00.png", "--domain", 0)
    assert _main(*words, "--out", "out") == 0
    assert "model: fruits, a bundled checkpoint, trained on some fruits alone" in capsys.readouterr().out
    assert _main("info") == 0
    assert "fruits                   2 domains at 32 px, trained on some fruits" in capsys.readouterr().out
    assert _main("train", "--data", picture_folder, "--out", "zebras") == 2
    assert "out is zebras, the name of a bundled checkpoint" in capsys.readouterr().err


def test_commands_draw_with_it_and_say_so(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: TUNIT, picture_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    source, reference = picture_folder / "disc_00.png", picture_folder / "stripe_00.png"
    words = ("--source", source, "--reference", reference, "--out")
    assert _main("translate", *words, "out") == 0
    assert "model: critters, a bundled checkpoint, trained on critters:5 alone" in capsys.readouterr().out
    with Image.open("out/disc_00--stripe_00.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(model.translate(source, reference)))
    assert _main("interpolate", "--model", "critters", *words, "way.png", "--domain", "cat") == 2
    assert _main("interpolate", *words[:2], "--domain", "cat", "dog", "--out", "way.png") == 0
    assert _main("domains", "--model", "critters", "--data", picture_folder, "--out", "sorted") == 0
    capsys.readouterr()
    assert _main("info", "critters") == 0
    assert "half_precision.largest_difference" in capsys.readouterr().out
    assert "comes with" not in capsys.readouterr().out


def test_one_can_train_on_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", "--preset", "cpu", "--data", picture_folder, "--init", "critters", "--out", "mine")
    tiny = (
        "--steps",
        2,
        "--set",
        "training.joint_start=1",
        "--set",
        "training.guiding_batch=8",
        "--set",
        "training.pair_steps=0",
    )
    assert _main(*words, *tiny) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert _main(*words[:-1], tmp_path / "mine", *tiny) == 0, "the same run, from wherever it is called"
    assert TUNIT.from_pretrained(tmp_path / "mine" / "model").config == TUNIT.from_pretrained("critters").config


def test_the_script_writes_such_a_folder(tmp_path: Path) -> None:
    script: dict[str, Any] = runpy.run_path(str(ROOT / "experiments" / "bundled_model.py"))
    torch.manual_seed(0)
    network = TUNIT(SHAPES).eval()
    network.domain_counts.fill_(3)
    network.about = {"version": "0.1.0", "step": 2}
    run, target = tmp_path / "run", tmp_path / "package" / "critters"
    network.save_pretrained(run / "model")
    (run / "samples").mkdir()
    Image.new("RGB", (8, 8)).save(run / "samples" / "00000002.png")
    (run / "config.yaml").write_text(
        "format_version: 2\npreset_name: paper\nrecipe: paper\nout: run\n"
        "data: {folder: 'critters:2'}\nmodel: {size: 32, domains: 2}\n"
    )
    (target / "old").mkdir(parents=True)
    found = script["bundle"](run, {"pseudo_label_accuracy": 0.5}, target)
    assert {path.name for path in target.iterdir()} >= {"config.json", "model.safetensors", "README.md", "samples.png"}
    assert not (target / "old").exists()
    written = TUNIT.from_pretrained(target)
    x = _pictures([critter(SEED, 0)], 32)
    apart = (network.translate(x, x) - written.translate(x, x)).abs().max()
    assert 127.5 * apart <= found["largest_difference"] + 1
    assert json.loads((target / "config.json").read_text())["about"]["half_precision"]["pictures"] == 500


def test_pictures_of_the_built_in_set(capsys: Capture, tmp_path: Path) -> None:
    words = ("critters", "--out", tmp_path / "some", "--count", 12, "--species", 3, "--size", 48, "--seed", 4)
    assert _main(*words) == 0
    files = sorted(path.relative_to(tmp_path / "some").as_posix() for path in (tmp_path / "some").rglob("*.png"))
    assert len(files) == 12
    counts = {name: sum(file.startswith(f"{name}/") for file in files) for name in SPECIES[:3]}
    assert ", ".join(f"{count} {name}" for name, count in counts.items() if count) in capsys.readouterr().out
    first = critter(4, 0, species=3)
    with Image.open(tmp_path / "some" / SPECIES[first.species] / "0.png") as image:
        assert np.array_equal(np.asarray(image), draw(first, 48))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--count", 0), "--count is 0"),
        (("--species", 11), "species is 11; expected 2 to 10"),
        (("--seed", -1), "no seed below 0"),
    ],
)
def test_pictures_that_cannot_be_drawn(capsys: Capture, tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    out = tmp_path / "out"
    assert _main("critters", "--out", out, *words) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        assert _main("critters", "--out", place) == 2
        assert "is not an empty folder" in capsys.readouterr().err
