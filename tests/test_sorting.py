"""sorting.py: a folder of any size, with names of any encoding, sorted into domains."""

from __future__ import annotations

import csv
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from open_tunit import TUNIT, sorting
from open_tunit.media import images
from open_tunit.sorting import sort_folder


def table(out: Path) -> list[dict[str, str]]:
    errors = sys.getfilesystemencodeerrors()
    with (out / "domains.csv").open(newline="", encoding="utf-8", errors=errors) as file:
        return list(csv.DictReader(file))


def test_few_pictures_are_in_memory_at_once(
    random_model: TUNIT, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[torch.Tensor]] = []
    most = 0
    from_uint8 = images.from_uint8

    def read(pixels: Any) -> torch.Tensor:
        nonlocal most
        x = from_uint8(pixels)
        kept.append(weakref.ref(x))
        most = max(most, sum(len(alive) for made in kept if (alive := made()) is not None))
        return x

    files = sorted(picture_folder.iterdir())
    expected = random_model.domains(files).argmax(dim=1).tolist()
    monkeypatch.setattr(sorting, "CHUNK", 5)
    monkeypatch.setattr(images, "from_uint8", read)
    found = sort_folder(random_model, picture_folder, tmp_path / "out")
    sheet = max(found.counts)
    assert [int(row["domain"]) for row in table(tmp_path / "out")] == expected
    assert most <= max(2 * 5, sheet)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8_are_kept(random_model: TUNIT, picture_folder: Path, tmp_path: Path) -> None:
    first = min(picture_folder.iterdir())
    name = os.fsdecode(b"caf\xe9.png")
    first.rename(picture_folder / name)
    sort_folder(random_model, picture_folder, tmp_path / "out")
    assert name in [row["file"] for row in table(tmp_path / "out")]
    assert b"caf\xe9.png" in (tmp_path / "out" / "domains.csv").read_bytes()
