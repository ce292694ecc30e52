"""The exported files translate as the model does, for any batch, and nothing is kept that does not."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from open_tunit import TUNIT
from open_tunit.cli.main import main
from open_tunit.data import critters
from open_tunit.interop import onnx as export
from open_tunit.interop.onnx import ParityError, export_onnx
from open_tunit.model_files.naming import Naming
from open_tunit.settings.config import Model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = Path(__file__).parents[1] / "examples" / "translate_onnx.py"
USER_ERROR = 2
LIMIT = 1e-4
SHAPES = Model(
    size=32, domains=3, style_dim=8, guiding_width=4, palette_dim=3, generator_width=4, generator_blocks=1,
    generator_bottleneck=8,
    style_mlp_width=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> TUNIT:
    """Weights under which styles, domains and statistics all matter."""
    torch.manual_seed(0)
    model = TUNIT(SHAPES)
    with torch.no_grad():
        assert model.E.palette_head is not None
        for head, std in ((model.E.domain_head, 2.0), (model.E.style_head, 1.0), (model.E.palette_head, 0.1)):
            head.weight.normal_(std=std)
        for module in model.E.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                assert module.running_mean is not None
                module.running_mean.normal_(std=0.3)
    model.domain_styles.normal_()
    model.domain_counts.fill_(7)
    model.name_domains(Naming.of({"one": [0, 2]}, 3))
    return model.eval()


@pytest.fixture(scope="module")
def exported(network: TUNIT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tunit export` wrote, and beside it the model and what was said."""
    folder = tmp_path_factory.mktemp("export")
    network.save_pretrained(folder / "model")
    with (folder / "said.txt").open("w") as said, contextlib.redirect_stdout(said):
        assert main(["export", "--model", str(folder / "model"), "--out", str(folder / "files"), "--archive"]) == 0
    return folder / "files"


def test_the_command_prints_the_differences(exported: Path) -> None:
    differences = json.loads((exported / "export.json").read_text())["largest_difference"]
    said = exported.with_name("said.txt").read_text()
    for name in ("domains", "style", "translation"):
        assert re.search(rf"{name} +differs from PyTorch by at most {differences[name]:.1e} ", said)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_any_batch_is_translated_as_pytorch_does(network: TUNIT, exported: Path, count: int) -> None:
    random = torch.Generator().manual_seed(count)
    x, references = (torch.rand(count, 3, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    guiding, generator = (onnxruntime.InferenceSession(exported / f"{name}.onnx") for name in ("guiding", "generator"))
    domains, style = guiding.run(["domains", "style"], {"image": references.numpy()})
    (translation,) = generator.run(["translation"], {"image": x.numpy(), "style": style})
    np.testing.assert_allclose(domains, network.domains(references).numpy(), atol=LIMIT)
    np.testing.assert_allclose(style, network.style(references).numpy(), atol=LIMIT * float(np.abs(style).max()))
    np.testing.assert_allclose(translation, network.translate(x, references).numpy(), atol=LIMIT)
    assert np.abs(translation - network.translate(x, references.flip(2)).numpy()).max() > 100 * LIMIT


def test_the_archives_hold_the_same_networks(network: TUNIT, exported: Path) -> None:
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    _, style = torch.export.load(exported / "guiding.pt2").module()(x)
    translation = torch.export.load(exported / "generator.pt2").module()(x, style)
    torch.testing.assert_close(translation, network.translate(x, x), atol=LIMIT, rtol=0)


def test_the_facts_beside_the_files(network: TUNIT, exported: Path) -> None:
    facts = json.loads((exported / "export.json").read_text())
    assert (facts["size"], facts["domains"], facts["style_dim"], facts["fit"]) == (32, 3, 8, "crop")
    assert torch.equal(torch.tensor(facts["domain_styles"]), network.domain_styles)
    assert facts["domain_names"] == ["one", "1", "one"]
    differences = facts["largest_difference"]
    assert all(0 < differences[name] <= LIMIT for name in ("domains", "style", "translation"))
    assert differences["tolerance"] == LIMIT
    assert {path.name for path in exported.iterdir()} == {
        "export.json", "guiding.onnx", "generator.onnx", "guiding.pt2", "generator.pt2"
    }  # fmt: skip


def test_the_example_needs_neither_pytorch_nor_open_tunit(network: TUNIT, exported: Path, tmp_path: Path) -> None:
    for index, name in enumerate(("source", "reference")):
        Image.fromarray(critters.draw(critters.critter(100, index), 32)).save(tmp_path / f"{name}.png")
    _turn_and_hide(tmp_path / "reference.png")
    code = (
        "import runpy, sys; sys.modules.update(torch=None, open_tunit=None); "
        f"sys.argv[1:] = {[str(exported), 'source.png', 'reference.png', 'out.png']}; runpy.run_path({str(EXAMPLE)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = np.asarray(network.translate(tmp_path / "source.png", tmp_path / "reference.png"), dtype=int)
    with Image.open(tmp_path / "out.png") as drawn:
        assert np.abs(np.asarray(drawn, dtype=int) - expected).max() <= 1
    domain = int(network.domains(tmp_path / "reference.png").argmax())
    assert f"domain {domain} with probability" in done.stdout


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_the_example_heeds_fit_and_background(network: TUNIT, exported: Path, tmp_path: Path, fit: str) -> None:
    copy = tmp_path / "files"
    shutil.copytree(exported, copy)
    facts = json.loads((copy / "export.json").read_text())
    (copy / "export.json").write_text(json.dumps({**facts, "fit": fit, "background": "#102030"}))
    other = TUNIT(network.config, fit=fit, background="#102030").eval()  # type: ignore[arg-type]
    other.load_state_dict(network.state_dict())
    picture = Image.new("RGBA", (96, 48), (200, 30, 30, 255))
    picture.paste(Image.fromarray(critters.draw(critters.critter(100, 0), 40)), (24, 4))
    picture.putpixel((30, 0), (0, 0, 0, 0))
    picture.save(tmp_path / "a.png")
    command = [sys.executable, str(EXAMPLE), str(copy), "a.png", "a.png", "out.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    square = other.squares(tmp_path / "a.png")
    expected = ((other.translate(square, square)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    with Image.open(tmp_path / "out.png") as drawn:
        assert np.abs(np.asarray(drawn) - expected).max() <= 3


def _turn_and_hide(path: Path) -> None:
    """Store the picture as cameras do, on its side with a note of it, and its lower half transparent."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture.putalpha(Image.fromarray(np.repeat(np.uint8([[255], [0]]), [16, 16], axis=0).repeat(32, axis=1)))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter to the right
    picture.save(path, exif=exif)


def test_the_command_overwrites_nothing(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert main(["export", "--model", str(exported.with_name("model")), "--out", str(exported)]) == USER_ERROR
    assert "exists already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


def test_networks_that_differ_are_not_kept(network: TUNIT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", 1e-12)
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        export_onnx(network, tmp_path / "files")
    assert list(tmp_path.iterdir()) == []


def test_the_model_that_is_exported_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_parts", lambda _: ())
    model = TUNIT(SHAPES).double().train()
    export_onnx(model, tmp_path / "files")
    assert model.training
    assert {value.dtype for value in model.parameters()} == {torch.float64}
