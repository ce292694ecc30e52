"""folders.py: many files through a model, few in memory, each read and encoded once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from counted import counted
from PIL import Image

from open_tunit import TUNIT
from open_tunit.media import images
from open_tunit.media.images import UnreadableImage
from open_tunit.media.pictures import Opened
from open_tunit.parts import AT_ONCE
from open_tunit.translation.folders import ahead, redraw_files, sampled_styles, save_redrawn, styles_of


@pytest.fixture
def files(picture_folder: Path) -> list[Path]:
    return sorted(picture_folder.iterdir())


def test_ahead_keeps_the_order_and_a_bounded_lead() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            begun.append(item)
            yield item

    results = ahead(lambda item: item**2, items())
    for number in range(50):
        assert next(results) == number**2
        assert len(begun) <= number + 1 + AT_ONCE
    assert list(results) == []


def test_ahead_computes_in_other_threads_and_hands_errors_on() -> None:
    assert threading.get_ident() not in set(ahead(lambda _: threading.get_ident(), range(5)))
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 / item, [2, 1, 0, 1]))


def test_files_are_redrawn_with_every_style(random_model: TUNIT, files: list[Path]) -> None:
    sources, references = files[:11], files[-2:]
    told: list[UnreadableImage] = []
    codes = styles_of(random_model, references, left_out=told.append)
    assert list(codes) == references
    styles = torch.cat(list(codes.values()))
    found = list(redraw_files(random_model, sources, styles, left_out=told.append))
    assert [(file, position) for file, position, _ in found] == [(file, k) for file in sources for k in (0, 1)]
    for file, position, picture in found:
        expected = random_model.translate(file, references[position])
        assert np.abs(np.asarray(picture, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1
    assert told == []


def test_samples_of_one_domain_or_of_all(random_model: TUNIT, files: list[Path]) -> None:
    random_model.measure_domains([random_model.squares(files)])
    filled = [k for k in range(3) if random_model.domain_counts[k]]
    one = sampled_styles(random_model, str(filled[-1]), 2, seed=4)
    assert [name for name, _ in one] == [f"domain{filled[-1]}-seed4-{k}" for k in (0, 1)]
    assert torch.equal(torch.cat([code for _, code in one]), random_model.sample_styles(filled[-1], 2, seed=4))
    everything = sampled_styles(random_model, "all", 2, seed=4)
    assert len(dict(everything)) == 2 * len(filled) > 2
    assert torch.equal(dict(everything)[one[1][0]], one[1][1])
    with pytest.raises(ValueError, match="domain is 7"):
        sampled_styles(random_model, 7, 2)


def test_files_without_a_picture_are_told(random_model: TUNIT, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    told: list[UnreadableImage] = []
    sources = [files[0], tmp_path / "broken.png", files[1]]
    style = random_model.style(files[2])
    assert [file for file, _, _ in redraw_files(random_model, sources, style, left_out=told.append)] == files[:2]
    assert "broken.png is not an image" in str(told[0])
    codes = styles_of(random_model, sources, left_out=told.append)
    assert list(codes) == files[:2]
    torch.testing.assert_close(codes[files[1]], random_model.style(files[1]))
    assert "broken.png is not an image" in str(told[1])


def test_groups_are_by_position_whatever_can_be_read(
    random_model: TUNIT, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = files[: 2 * AT_ONCE + 1]
    sources[2] = tmp_path / "broken.png"
    sources[2].write_text("no picture")
    counts: list[int] = []
    redraw_all = random_model.redraw_all

    def counting(pictures: list[Opened], *codes: torch.Tensor, **options: float) -> Iterator[Image.Image]:
        counts.append(len(pictures))
        return redraw_all(pictures, *codes, **options)

    monkeypatch.setattr(random_model, "redraw_all", counting)
    found = list(redraw_files(random_model, sources, random_model.style(files[-1]), left_out=lambda _: None))
    assert counts == [AT_ONCE - 1, AT_ONCE, 1]
    assert [file for file, _, _ in found] == [file for file in sources if file != sources[2]]


def test_each_file_is_read_and_encoded_once(
    random_model: TUNIT, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    read_layers = images.read_layers

    def reading(source: Path) -> tuple[Image.Image, Image.Image | None]:
        read.append(source)
        return read_layers(source)

    monkeypatch.setattr(images, "read_layers", reading)
    with counted(random_model) as networks:
        styles = torch.cat(list(styles_of(random_model, files[:10], left_out=print).values()))
        pictures = list(redraw_files(random_model, files[10:21], styles, left_out=print))
    assert len(pictures) == 110
    assert sorted(map(str, read)) == sorted(map(str, files[:21]))
    assert networks == {"E": 10, "encoder": 11, "decoder": 110}


def test_a_large_picture_is_freed_before_the_next_one_is_read(
    random_model: TUNIT, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_tunit.parts.PIXELS_AT_ONCE", 100)
    monkeypatch.setattr("open_tunit.translation.folders.PIXELS_AT_ONCE", 100)
    opened: list[weakref.ref[Opened]] = []
    alive: list[int] = []
    read = random_model.open

    def reading(picture: Path | Opened) -> Opened:
        if isinstance(picture, Opened):
            return picture
        alive.append(sum(known() is not None for known in opened))
        found = read(picture)
        opened.append(weakref.ref(found))
        return found

    monkeypatch.setattr(random_model, "open", reading)
    style = random_model.style(files[0])
    alive.clear()
    target = lambda file, _: tmp_path / f"{file.stem}.png"  # noqa: E731
    assert save_redrawn(random_model, files[:5], style, target, left_out=print) == 5
    assert alive == [0] * 5
