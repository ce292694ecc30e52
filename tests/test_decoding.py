"""decoding.py: what becomes of each file."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from odd_files import encoded, picture
from PIL import Image

from open_tunit.data.cache_format import Row
from open_tunit.data.decoding import listing, produced, read_row
from open_tunit.data.duplicates import phash
from open_tunit.data.inspection import Inspection
from open_tunit.data.scan import content_hash


def _row(root: Path, file: str) -> Row:
    ((name, stat),) = listing(root, [file], lambda *_: None)
    return read_row(root, name, stat, size=16, fit="crop", background="#ffffff")


def test_a_readable_file(tmp_path: Path) -> None:
    image = picture(1, (30, 20))
    image.save(tmp_path / "a.png")
    row = _row(tmp_path, "a.png")
    assert row.inspection == Inspection("PNG", 30, 20, (), phash(image))
    assert row.text == content_hash(tmp_path / "a.png")
    assert row.pixels is not None
    middle = image.crop((5, 0, 25, 20)).resize((16, 16), Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert np.array_equal(row.pixels, np.asarray(middle))


def test_a_damaged_file_stays_so_and_a_refused_one_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut.png").write_bytes(encoded(picture(), "PNG")[:300])
    row = _row(tmp_path, "cut.png")
    assert (row.pixels, row.inspection, row.transient) == (None, None, False)
    assert row.text.startswith("is cut short")

    def refuse(path: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("open_tunit.data.decoding.content_hash", refuse)
    row = _row(tmp_path, "cut.png")
    assert (row.text, row.transient) == ("cannot be read: Permission denied", True)


def test_what_goes_while_it_is_listed_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    picture().save(tmp_path / "a.png")
    found = listing(tmp_path, ["a.png", "gone.png"], lambda file, reason: told.append((file, reason)))
    assert [file for file, _ in found] == ["a.png"]
    assert told == [("gone.png", "cannot be read: No such file or directory")]


def test_rows_come_in_order_from_several_threads() -> None:
    meeting = threading.Barrier(2, timeout=60)

    def produce(file: str, stat: tuple[int, ...]) -> Row:
        if file in ("0", "1"):
            meeting.wait()  # only two at the same time get past
        return Row(file, stat, None, "")

    done: list[tuple[int, int]] = []
    rows = produced([(str(n), ()) for n in range(600)], produce, 2, lambda *counts: done.append(counts))
    assert [row.file for row in rows] == [str(n) for n in range(600)]
    assert done == [(n + 1, 600) for n in range(600)]
