"""What every test may ask for."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tiny import TINY, Begin, halve, train_tiny
from untrained import untrained

from open_tunit import TUNIT, Config


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture
def fixtures() -> Path:
    """The folder of files that tests need and the repository does not hold."""
    folder = os.environ.get("TUNIT_FIXTURES")
    if not folder:
        pytest.skip("TUNIT_FIXTURES is not set: needs files outside the repository")
    return Path(folder)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """24 different pictures of 48x40: warm discs on dark (disc_00.png …), cool stripes on light (stripe_00.png …)."""
    return _draw_pictures(tmp_path / "pictures")


@pytest.fixture
def split_folder(picture_folder: Path) -> Path:
    """The picture folder with 20 of its 24 pictures in test/disc and test/stripe."""
    return _hold_out(picture_folder)


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run = train_tiny(_hold_out(_draw_pictures(folder / "pictures")), folder / "run")
    model = TUNIT.from_pretrained(run / "model")
    halve(model, model.squares(sorted((folder / "pictures").rglob("*.png"))))
    model.save_pretrained(run / "model")
    return run


@pytest.fixture
def tiny_run(_trained_once: Path, tmp_path: Path) -> Path:
    """A run of two steps on a folder of its own like `split_folder`, for this test alone."""
    return Path(shutil.copytree(_trained_once, tmp_path / "<run> & co"))


@pytest.fixture
def random_model() -> TUNIT:
    """A model that was never trained, of three domains, for this test alone."""
    return untrained()


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


@pytest.fixture
def model(random_model: TUNIT, tmp_path: Path) -> Path:
    """The folder of a model of three domains, of which domain 2 is empty."""
    random_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _draw_pictures(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(12):
        _disc(random).save(folder / f"disc_{index:02d}.png")
        _stripes(random).save(folder / f"stripe_{index:02d}.png")
    return folder


def _hold_out(folder: Path) -> Path:
    for kind in ("disc", "stripe"):
        (folder / "test" / kind).mkdir(parents=True)
        for path in sorted(folder.glob(f"{kind}_0?.png")):
            path.rename(folder / "test" / kind / path.name)
    return folder


def _disc(random: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (48, 40), tuple(random.integers(10, 50, 3).tolist()))
    x, y, radius = random.integers(16, 32), random.integers(14, 26), random.integers(8, 13)
    colour = (int(random.integers(200, 256)), int(random.integers(60, 140)), int(random.integers(0, 40)))
    ImageDraw.Draw(picture).ellipse([int(x - radius), int(y - radius), int(x + radius), int(y + radius)], fill=colour)
    return picture


def _stripes(random: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (48, 40), tuple(random.integers(200, 250, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    colour = (int(random.integers(0, 50)), int(random.integers(60, 140)), int(random.integers(150, 256)))
    for x in range(int(random.integers(0, 10)), 48, 10):
        draw.rectangle([x, 0, x + 4, 39], fill=colour)
    return picture
