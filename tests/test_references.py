"""references.py: which styles are asked for, under which names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from open_tunit import TUNIT
from open_tunit.translation.references import Asked, neighbour_styles, reference_styles


@pytest.fixture
def pool(picture_folder: Path, tmp_path: Path) -> Path:
    """Twelve pictures in two folders."""
    for path in sorted(picture_folder.iterdir())[::2]:
        target = tmp_path / "pool" / path.name.partition("_")[0] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path / "pool"


def _none(error: Exception) -> None:
    pytest.fail(str(error))


def test_references_are_called_by_their_paths(random_model: TUNIT, pool: Path) -> None:
    (pool / "broken.png").write_text("no picture")
    told: list[Exception] = []
    found = reference_styles(random_model, pool, left_out=told.append)
    assert list(found)[:2] == ["disc-disc_00", "disc-disc_02"]
    assert len(found) == 12
    assert "broken.png" in str(told[0])
    expected = random_model.style(pool / "disc" / "disc_02.png")
    torch.testing.assert_close(found["disc-disc_02"], expected, rtol=1e-4, atol=1e-4)


def test_neighbours_are_the_nearest_of_the_folder(random_model: TUNIT, pool: Path, picture_folder: Path) -> None:
    reference = picture_folder / "stripe_05.png"
    files = sorted(pool.rglob("*.png"))
    distances = torch.linalg.vector_norm(random_model.style(files) - random_model.style(reference), dim=1)
    nearest = [files[place] for place in distances.argsort()[:3].tolist()]
    found = neighbour_styles(random_model, reference, pool, 3, left_out=_none)
    assert list(found) == [f"{path.parent.name}-{path.stem}" for path in nearest]
    torch.testing.assert_close(torch.cat(list(found.values())), random_model.style(nearest), rtol=1e-4, atol=1e-4)


def test_a_reference_is_not_its_own_neighbour(random_model: TUNIT, pool: Path) -> None:
    found = neighbour_styles(random_model, pool / "disc" / "disc_04.png", pool, 11, left_out=_none)
    assert len(found) == 11
    assert "disc-disc_04" not in found
    shutil.copy(pool / "disc" / "disc_04.png", pool / "stripe" / "a_copy.png")
    found = neighbour_styles(random_model, pool / "disc" / "disc_04.png", pool, 11, left_out=_none)
    assert not {"disc-disc_04", "stripe-a_copy"} & found.keys()
    (pool / "stripe" / "a_copy.png").unlink()
    both = neighbour_styles(random_model, pool / "disc", pool, 1, left_out=_none)
    assert all(name.startswith("stripe-") for name in both)


def test_neighbours_that_are_not_there(random_model: TUNIT, pool: Path) -> None:
    reference = pool / "disc" / "disc_04.png"
    with pytest.raises(ValueError, match="has 11 pictures beside the references; neighbours is 12"):
        neighbour_styles(random_model, reference, pool, 12, left_out=_none)
    with pytest.raises(ValueError, match="neighbours is 0"):
        neighbour_styles(random_model, reference, pool, 0, left_out=_none)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        neighbour_styles(random_model, reference, pool / "nowhere", 1, left_out=_none)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, "reference or a domain"),
        ({"reference": Path("a"), "domain": 0}, "reference or a domain"),
        ({"reference": Path("a"), "samples": 2}, "samples is 2"),
        ({"reference": Path("a"), "neighbours": 2}, "among"),
        ({"reference": Path("a"), "among": Path("b")}, "among"),
        ({"domain": 0, "neighbours": 2, "among": Path("b")}, "neighbours is 2"),
    ],
)
def test_what_does_not_go_together(asked: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Asked(**asked)  # type: ignore[arg-type]
