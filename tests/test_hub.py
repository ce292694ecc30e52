"""Models to and from the hub: a stand-in on this machine, each command in a process of its own as a user has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_stand_in import TOKEN, Repository, StandIn, stand_in
from PIL import Image

from open_tunit import TUNIT
from open_tunit.card import Publication, published_card
from open_tunit.cli.main import main
from open_tunit.interop.hub import Upload, stage
from open_tunit.model_files.naming import Naming
from open_tunit.model_files.places import TRAINING_HASHES
from open_tunit.settings.config import Model

pytest.importorskip("huggingface_hub")

USER_ERROR = 2
NAME = "ada/critters"
NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""
SHAPES = Model(size=32, domains=3, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)
SECRET = "private-face.png"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def hub() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


@pytest.fixture
def shell(hub: StandIn, tmp_path: Path) -> Shell:
    """Python with the stand-in as its hub and a cache of its own; runs where there is no model folder."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}

    def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, words)]
        environment = os.environ | own | {"HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"} | more
        return subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True)

    return run


SEVERAL = """
import contextlib, io, json, sys
from open_tunit.cli.main import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def _tunit(shell: Shell, *commands: tuple[str | Path, ...], **more: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each command, all in one new process."""
    done = shell("-c", SEVERAL, json.dumps([list(map(str, words)) for words in commands]), **more)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def _model(folder: Path) -> TUNIT:
    torch.manual_seed(0)
    model = TUNIT(SHAPES).eval()
    model.about = {
        "version": "0.1.0", "preset": "cpu", "seed": 3, "step": 40, "seconds": 90.0, "device": "two cores",
        "supervision": "none", "domain_counts": [5, 6, 7],
        "data": {
            "name": "photos", "fingerprint": "abc123", "train": 18, "val": 1, "test": 1, "unreadable": [[SECRET, "?"]]
        },
    }  # fmt: skip
    model.name_domains(Naming.of({"tabby": 0}, 3))
    model.save_pretrained(folder)
    return model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run as training leaves it, measured."""
    folder = tmp_path / "run"
    _model(folder / "model")
    (folder / "model" / "examples").mkdir()
    Image.new("RGB", (8, 8), "green").save(folder / "model" / "examples" / "0.png")
    (folder / "samples").mkdir()
    for step, colour in ((20, "red"), (40, "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / "samples" / f"{step:08d}.png")
    (folder / "log.jsonl").write_text('{"step": 20, "phase": "guiding"}\n{"step": 40, "phase": "joint"}\n')
    (folder / "config.yaml").write_text(
        "format_version: 2\npreset_name: paper\nrecipe: paper\nout: run\ndata: {folder: /home/ada/photos}\n"
        "training: {steps: 50, batch: 4}\n"
    )
    (folder / "metrics.json").write_text(
        json.dumps(
            {
                "species_reached": 0.4321,
                "steps": 40,
                "protocol": {"true_answers": "by a judge", "data": "/home/ada/photos", "part": "test"},
                "counts": [1, 2],
            }
        )
    )
    return folder


def test_push_and_use(shell: Shell, hub: StandIn, run: Path, picture_folder: Path) -> None:
    source, reference = picture_folder / "disc_00.png", picture_folder / "stripe_00.png"
    use = ("translate", "--model", NAME, "--source", source, "--reference", reference, "--out", run / "out")
    pushed, used = _tunit(shell, ("push", run, NAME, "--license", "cc-by-4.0", "--private"), use)
    assert pushed[0] == 0, pushed[2]
    assert f"{hub.address}/{NAME}" in pushed[1]
    _, files = hub.repositories[NAME].commits[-1]
    assert hub.repositories[NAME].private
    assert set(files) == {
        # and nothing of examples/, which shows images of the folder
        ".gitattributes", "README.md", "config.json", "domains.yaml", "metrics.json", "model.safetensors", "samples.png"
    }  # fmt: skip
    assert files["samples.png"] == (run / "samples" / "00000040.png").read_bytes()
    assert not any(SECRET.encode() in content for content in files.values())

    assert used[0] == 0, used[2]
    expected = TUNIT.from_pretrained(run / "model").translate(source, reference)
    with Image.open(run / "out" / "disc_00--stripe_00.png") as drawn:
        assert drawn.tobytes() == expected.tobytes()

    ((code, _, errors),) = _tunit(shell, (*use, "--overwrite"), HF_ENDPOINT=NOBODY)
    assert code == 0, f"what was fetched once is to be used where the hub cannot be reached: {errors}"


def test_a_revision_stays_what_it_was(shell: Shell, hub: StandIn, run: Path) -> None:
    later = run.parent / "later"
    model = TUNIT.from_pretrained(run / "model")
    model.about["step"] = 41
    model.save_pretrained(later)
    pushes = [("push", place, "ada/second", "--license", "cc0-1.0") for place in (run / "model", later)]
    assert [code for code, *_ in _tunit(shell, *pushes)] == [0, 0]
    _, (first, _), _ = hub.repositories["ada/second"].commits
    steps = "[TUNIT.from_pretrained('ada/second', revision=r).about['step'] for r in sys.argv[1:]]"
    assert (
        shell("-c", f"import sys; from open_tunit import TUNIT; print({steps})", first, "main").stdout == "[40, 41]\n"
    )


USE = ("translate", "--source", "a.png", "--domain", "0", "--out", "out", "--model")


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        (
            {},
            [
                ((*USE, "ada/none"), "neither a folder here nor a model on the hub"),
                ((*USE, "ada/other"), "ada/other on the hub is not a model of open-tunit"),
                (("push", "{run}", "critters", "--license", "cc0-1.0"), "'critters' is no hub id; expected user/name"),
                (("push", "{run}", NAME, "--license", "do what you like"), "expected an identifier such as cc-by-4.0"),
                (("push", "{run}/samples", NAME, "--license", "cc0-1.0"), "is not a model folder"),
            ],
        ),
        ({"HF_TOKEN": "hf_wrong"}, [(("push", "{run}", NAME, "--license", "cc0-1.0"), "hf auth login")]),
        (
            {"HF_ENDPOINT": NOBODY},
            [
                ((*USE, "ada/none"), "cannot be had from the hub"),
                (("push", "{run}", NAME, "--license", "cc0-1.0"), "cannot be uploaded"),
            ],
        ),
    ],
)
def test_refusals_are_one_line(
    shell: Shell,
    hub: StandIn,
    run: Path,
    environment: dict[str, str],
    refused: list[tuple[tuple[str, ...], str]],
) -> None:
    hub.repositories["ada/other"] = Repository(private=False)
    hub.repositories["ada/other"].commit({"README.md": b"a poem"})
    commits = {name: len(repository.commits) for name, repository in hub.repositories.items()}
    commands = [tuple(word.replace("{run}", str(run)) for word in words) for words, _ in refused]
    for (code, _, errors), (_, expected) in zip(_tunit(shell, *commands, **environment), refused, strict=True):
        assert code == USER_ERROR
        line = errors.splitlines()[-1]
        assert line.startswith("tunit: ")
        assert expected in line
    assert {name: len(repository.commits) for name, repository in hub.repositories.items()} == commits


def test_a_dry_run_uploads_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "staged"
    words = ["push", str(run), NAME, "--license", "cc0-1.0", "--dry-run", str(out)]
    assert main([*words, "--no-samples", "--intended-use", "Only for moles."]) == 0
    assert "nothing uploaded" in capsys.readouterr().out
    assert "samples.png" not in {path.name for path in out.iterdir()}
    card = (out / "README.md").read_text()
    assert "Only for moles." in card
    assert "samples.png" not in card
    assert main(words) == USER_ERROR
    assert "is not an empty folder" in capsys.readouterr().err
    assert (out / "README.md").read_text() == card


def test_hashes_of_training_images_stay_here_unless_asked_for(tiny_run: Path, tmp_path: Path) -> None:
    assert TRAINING_HASHES in TUNIT.from_pretrained(tiny_run / "model").about["data"]
    words = ["push", str(tiny_run), NAME, "--license", "cc0-1.0", "--dry-run"]
    for name, flags, kept in (("without", [], False), ("with", ["--training-hashes"], True)):
        assert main([*words, str(tmp_path / name), *flags]) == 0
        data = TUNIT.from_pretrained(tmp_path / name).about["data"]
        assert (TRAINING_HASHES in data, "fingerprint" in data) == (kept, True)


def test_the_card_tells_what_is_known(run: Path, tmp_path: Path) -> None:
    stage(Upload(place=run, name=NAME, license="cc-by-4.0"), tmp_path / "staged")
    text = (tmp_path / "staged" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "open-tunit",
        "pipeline_tag": "image-to-image",
        "license": "cc-by-4.0",
        "tags": ["image-to-image", "unsupervised", "tunit"],
    }
    for expected in (
        f'from_pretrained("{NAME}")', "| `species_reached` | 0.4321 |", "- true answers: by a judge", "- data: photos",
        "`abc123`", "40 of 50, batch 4",
        "| images per domain | tabby: 5, 1: 6, 2: 7 |",
        "1.5 minutes on two cores", "18 training images", "![Sample grid](samples.png)", "Top row: references",
        "## Intended use",
    ):  # fmt: skip
        assert expected in body, expected
    assert not any(b"/home/ada" in path.read_bytes() for path in (tmp_path / "staged").iterdir())


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 39},
        {"protocol": {"data": "/home/ada/other", "part": "test"}},
        {"protocol": {"data": "/home/ada/photos", "part": "train"}},
        {"protocol": {}},
    ],
)
def test_figures_of_another_model_or_other_images_are_left_out(
    run: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**figures, **changed}))
    assert "metrics.json" not in stage(Upload(place=run, name=NAME, license="cc0-1.0"), tmp_path / "staged")
    assert "species_reached" not in (tmp_path / "staged" / "README.md").read_text()


def test_a_model_of_unknown_training_has_a_card_too(run: Path, tmp_path: Path) -> None:
    TUNIT(SHAPES).save_pretrained(tmp_path / "imported")
    upload = Upload(place=tmp_path / "imported", name=NAME, license="cc-by-nc-4.0")
    assert stage(upload, tmp_path / "staged") == ["README.md", "config.json", "model.safetensors"]
    card = (tmp_path / "staged" / "README.md").read_text()
    assert card.count("Not known: nothing of the kind lies beside this model.") == 2
    assert card == published_card(SHAPES, {}, Publication(name=NAME, license="cc-by-nc-4.0"))


def test_a_revision_needs_a_hub_id(run: Path) -> None:
    with pytest.raises(ValueError, match="only hub ids have revisions"):
        TUNIT.from_pretrained(run / "model", revision="main")


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run / "model", tmp_path / "ada" / "critters")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert TUNIT.from_pretrained(NAME).config == SHAPES
    with pytest.raises(FileNotFoundError, match="it does not exist; the hub is not asked, as ada is a folder here"):
        TUNIT.from_pretrained("ada/moles")
    with pytest.raises(FileNotFoundError, match=r"eve/moles is no folder here; .* pip install huggingface_hub"):
        TUNIT.from_pretrained("eve/moles")
