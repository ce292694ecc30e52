"""Training on shards: the same run as on the folder, whatever is damaged, however many processes read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import train_tiny

from open_tunit.data.batches import Batches
from open_tunit.data.dataset import open_dataset
from open_tunit.data.shard_images import ShardImages
from open_tunit.data.sharding import write_shards
from open_tunit.data.views import Views
from open_tunit.settings.config import Data
from open_tunit.training import loop
from open_tunit.training.distributed.group import Group

SIZE = 32


@pytest.fixture
def pattern(picture_folder: Path, tmp_path: Path) -> str:
    return write_shards(picture_folder, tmp_path / "shards", per_shard=7).pattern


def test_a_data_set_of_shards_is_that_of_the_folder(picture_folder: Path, pattern: str) -> None:
    folder, shards = (open_dataset(Data(folder=place), size=SIZE, seed=0) for place in (str(picture_folder), pattern))
    assert isinstance(shards.images, ShardImages)
    assert shards.fingerprint == folder.fingerprint
    assert shards.files == folder.files
    assert shards.images.shape == folder.images.shape
    assert shards.images.nbytes == folder.images.nbytes
    assert np.array_equal(np.array(shards.images), folder.images)
    for key in (3, -1, slice(2, 20, 5), np.array([5, 0, 5]), np.array([], dtype=int)):
        assert np.array_equal(shards.images[key], folder.images[key])


def damage(pattern: str, file: str) -> None:
    """Change a byte of a picture, and none of the index."""
    for index in sorted(Path(pattern).parent.glob("0*.json")):
        for name, offset, length, _ in json.loads(index.read_text())["samples"]:
            if name == file:
                shard = index.with_suffix(".tar")
                content = bytearray(shard.read_bytes())
                content[offset + length // 2] ^= 1
                shard.write_bytes(content)


def test_the_next_stands_for_a_damaged_sample(pattern: str) -> None:
    damage(pattern, "disc_04.png")
    damage(pattern, "disc_05.png")
    images = open_dataset(Data(folder=pattern), size=SIZE, seed=0).images
    assert isinstance(images, ShardImages)
    assert np.array_equal(images[4], images[6])
    assert np.array_equal(images[5], images[6])
    assert set(images.damaged) == {"disc_04.png", "disc_05.png"}


def test_what_is_expected_is_what_comes(pattern: str) -> None:
    images = open_dataset(Data(folder=pattern), size=SIZE, seed=0).images
    assert isinstance(images, ShardImages)
    plain = images[np.arange(8)]
    images.expect(range(4))
    images.expect(range(2, 8))
    assert np.array_equal(images[np.arange(8)], plain)


def test_samples_that_become_damaged_while_they_are_gathered(pattern: str) -> None:
    """Threads that read ahead go on; what they find is told the next time."""
    images = open_dataset(Data(folder=pattern), size=SIZE, seed=0).images
    assert isinstance(images, ShardImages)
    images.damaged["a.png"] = "is cut short"

    def gathered(own: dict[str, str]) -> list[dict[str, str]]:
        images.damaged["late.png"] = "is cut short"
        return [own]

    session = SimpleNamespace(dataset=SimpleNamespace(images=images), group=SimpleNamespace(gathered=gathered))
    assert loop._Session._damaged(session) == {"a.png": "is cut short"}  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_sample_comes_once_an_epoch(pattern: str, size: int) -> None:
    """Over three epochs, whatever the number of processes; and a run that begins in the middle reads the same."""
    images = open_dataset(Data(folder=pattern), size=SIZE, seed=0).images
    every, count = np.arange(24), 8

    def read(group: Group, steps: range) -> list[list[bytes]]:
        source = Batches(
            images,
            np.full(24, -1),
            every,
            seed=3,
            view=Views(flip=False),
            device=torch.device("cpu"),
            rows=group.rows,
        )
        return [[picture.numpy().tobytes() for picture in source.batch(step, count).x] for step in steps]

    parts = [read(Group(rank, size), range(9)) for rank in range(size)]
    steps = [[picture for part in parts for picture in part[step]] for step in range(9)]
    for epoch in range(3):
        seen = Counter(picture for step in steps[3 * epoch : 3 * epoch + 3] for picture in step)
        assert set(seen.values()) == {1}
        assert len(seen) == 24
    assert steps == read(Group(), range(9))
    assert read(Group(), range(4, 6)) == read(Group(), range(6))[4:]


def test_a_run_on_shards_is_the_run_on_the_folder(picture_folder: Path, pattern: str, tmp_path: Path) -> None:
    runs = [train_tiny(Path(place), tmp_path / name) for place, name in ((picture_folder, "a"), (pattern, "b"))]
    one, other = (torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True) for run in runs)
    for name in ("E", "G", "D"):
        assert all(torch.equal(value, other[name][key]) for key, value in one[name].items())
    assert not any("damaged_samples" in line for line in _log(runs[1]))


def test_damaged_samples_are_counted(pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(pattern, "stripe_04.png")
    run = train_tiny(Path(pattern), tmp_path / "run")
    assert [line["damaged_samples"] for line in _log(run)] == [1, 1]
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert "stripe_04.png" in warning


def _log(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
