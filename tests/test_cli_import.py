"""`tunit import-official`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import Capture, refused, tunit
from tiny import digests_of

from open_tunit import TUNIT
from open_tunit.interop.official import discriminator_names, generator_names, guiding_names
from open_tunit.networks.discriminator import Discriminator
from open_tunit.settings.config import Discriminator as DiscriminatorShape
from open_tunit.settings.config import Model


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A small checkpoint under the published names."""
    torch.manual_seed(0)
    shapes = Model(size=64, domains=3, style_dim=7, guiding_width=4, generator_width=4)
    narrow = DiscriminatorShape(width=4)
    model, D = TUNIT(shapes), Discriminator(shapes, narrow)
    values: dict[str, object] = {"epoch": 5}
    for name, network, names in (
        ("C", model.E, guiding_names(shapes)), ("G", model.G, generator_names(shapes)),
        ("D", D, discriminator_names(shapes, narrow)),
    ):  # fmt: skip
        state = {f"module.{names[ours]}": value for ours, value in network.state_dict().items()}
        values[f"{name}_state_dict"] = values[f"{name}_EMA_state_dict"] = state
    torch.save(values, tmp_path / "published.ckpt")
    return tmp_path / "published.ckpt"


def test_import_official(capsys: Capture, tmp_path: Path, published: Path, picture_folder: Path) -> None:
    out = tmp_path / "imported"
    assert tunit("import-official", published, "--out", out) == 0
    assert f"model: {out}" in capsys.readouterr().out
    assert "3 domains at 64 px" in (out / "README.md").read_text()
    assert tunit("info", out) == 0
    pair = ("--source", picture_folder / "disc_00.png", "--reference", picture_folder / "disc_01.png")
    assert tunit("translate", "--model", out, *pair, "--out", tmp_path / "t") == 0
    before = digests_of(out)
    assert "is not empty" in refused(capsys, "import-official", published, "--out", out, "--raw")
    assert digests_of(out) == before
    again = ("--out", tmp_path / "again")
    assert "was trained at 64 px" in refused(capsys, "import-official", published, *again, "--size", 128)
    published.write_bytes(b"hello")
    assert "is not a checkpoint" in refused(capsys, "import-official", published, *again)
    published.unlink()
    assert "does not exist" in refused(capsys, "import-official", published, *again)
    assert not (tmp_path / "again").exists()


def test_an_imported_model_can_be_fine_tuned(tmp_path: Path, published: Path, picture_folder: Path) -> None:
    assert tunit("import-official", published, "--out", tmp_path / "imported") == 0
    words = ("train", "--preset", "cpu", "--data", picture_folder, "--init", tmp_path / "imported", "--steps", 4)
    words = (*words, "--set", "training.batch=2", "--set", "training.joint_start=3", "--out", tmp_path / "run")
    assert tunit(*words, "--set", "training.guiding_batch=4") == 0
