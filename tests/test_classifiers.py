"""evaluation/ground_truth/classifiers.py: kept once, the same from the cache, made again when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from open_tunit.data import critters
from open_tunit.evaluation.ground_truth import classifiers
from open_tunit.evaluation.ground_truth.classifiers import Classifiers, open_classifiers, train_classifiers
from open_tunit.media.images import from_uint8

SPECIES, SIZE = 3, 16


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "TRAINING_CRITTERS", 128)
    monkeypatch.setattr(classifiers, "HELD_OUT_CRITTERS", 32)
    monkeypatch.setattr(classifiers, "EPOCHS", 2)


def _opened(cache: Path) -> Classifiers:
    return open_classifiers(species=SPECIES, size=SIZE, cache_root=cache)


def _levels(found: Classifiers) -> dict[str, list[int]]:
    drawn = [critters.draw(critters.critter(5, index, species=SPECIES), SIZE) for index in range(64)]
    return {name: said.tolist() for name, said in found.levels(from_uint8(torch.from_numpy(np.stack(drawn)))).items()}


def _same(a: Classifiers, b: Classifiers) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    return a.accuracy == b.accuracy and all(torch.equal(first[name], second[name]) for name in first)


def test_the_cache_gives_the_classifiers_that_were_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = train_classifiers(species=SPECIES, size=SIZE)
    first = _opened(tmp_path)
    monkeypatch.setattr(classifiers, "train_classifiers", None)
    again = _opened(tmp_path)
    assert _same(trained, first)
    assert _same(first, again)
    assert _levels(trained) == _levels(again)
    assert len(list((tmp_path / "classifiers").iterdir())) == 1


def test_other_classifiers_have_other_places(tmp_path: Path) -> None:
    _opened(tmp_path)
    with_more = open_classifiers(species=SPECIES + 1, size=SIZE, cache_root=tmp_path)
    assert set(_levels(with_more)) == {"species", *critters.CONTENT_LEVELS}
    assert len(list((tmp_path / "classifiers").iterdir())) == 2


def test_damaged_classifiers_are_trained_again(tmp_path: Path) -> None:
    first = _opened(tmp_path)
    (path,) = (tmp_path / "classifiers").iterdir()
    whole = path.read_bytes()
    changed = whole.replace(b"accuracy", b"accuracz")
    for damaged in (whole[:-5], whole[:-1] + bytes([whole[-1] ^ 1]), changed, b""):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="is damaged; making classifiers again"):
            assert _same(_opened(tmp_path), first)
        assert _same(_opened(tmp_path), first)


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "classifiers").write_text("a file in the way")
    with pytest.warns(UserWarning, match="classifiers are not kept: .* cannot be written"):
        _opened(tmp_path)
