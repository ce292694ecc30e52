"""translating.py: what `tunit translate` does, in one call from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit import TUNIT, translate_files


@pytest.fixture
def sources(picture_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "deep").mkdir(parents=True)
    for name, target in (("disc_00.png", "a.png"), ("disc_01.png", "deep/b.png")):
        (picture_folder / name).rename(folder / target)
    return folder


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_every_source_with_every_reference(random_model: TUNIT, sources: Path, tmp_path: Path) -> None:
    references = tmp_path / "references"
    references.mkdir()
    for name in ("stripe_00.png", "stripe_01.png"):
        (tmp_path / "pictures" / name).rename(references / name)
    (sources / "broken.png").write_text("no picture")
    done = translate_files(random_model, sources, tmp_path / "out", references, strength=0.5, whole=True)
    assert done.count == 4
    (left_out,) = done.left_out
    assert "broken.png" in str(left_out)
    for source, name in (("a.png", "a"), ("deep/b.png", "deep/b")):
        for reference in ("stripe_00", "stripe_01"):
            drawn = _pixels(tmp_path / "out" / f"{name}--{reference}.png").astype(int)
            after = references / f"{reference}.png"
            expected = random_model.translate(sources / source, after, strength=0.5, whole=True)
            assert np.abs(drawn - np.asarray(expected)).max() <= 1


def test_a_domain_under_a_mask(random_model: TUNIT, sources: Path, tmp_path: Path) -> None:
    mask = Image.linear_gradient("L").resize((48, 40))
    done = translate_files(random_model, str(sources / "a.png"), tmp_path / "a.png", domain=1, mask=mask)
    assert (done.count, done.left_out) == (1, ())
    expected = random_model.translate(sources / "a.png", domain=1, mask=mask)
    assert np.array_equal(_pixels(tmp_path / "a.png"), np.asarray(expected))


def test_what_cannot_be(random_model: TUNIT, sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, named in (
        ({}, "reference or a domain"),
        ({"reference": sources, "domain": 1}, "reference or a domain"),
        ({"reference": sources, "samples": 2}, "samples is 2"),
        ({"domain": 1, "strength": 2}, "strength is 2"),
        ({"domain": 1, "colours": "blue"}, "colours is 'blue'"),
        ({"domain": 2}, "domain 2 has no typical style"),
    ):
        with pytest.raises(ValueError, match=named):
            translate_files(random_model, sources, out, **options)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        translate_files(random_model, tmp_path / "nowhere", out, domain=1)
    assert not out.exists()
    assert translate_files(random_model, sources, out, domain=1).count == 2
    with pytest.raises(ValueError, match="exists already"):
        translate_files(random_model, sources, out, domain=1)
