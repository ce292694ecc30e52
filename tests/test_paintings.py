"""paintings.py: paint becomes a mask; few and small layers are kept."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from open_tunit.web.paintings import MOST_BYTES, MOST_WAITING, OPACITY, Paintings


def _layer(size: tuple[int, int] = (40, 30)) -> Image.Image:
    layer = Image.new("RGBA", size)
    layer.paste((20, 184, 166, round(255 * OPACITY)), (0, 0, 10, size[1]))
    return layer


def _painting(layer: Image.Image) -> SimpleNamespace:
    file = io.BytesIO()
    layer.save(file, format="PNG")
    return SimpleNamespace(background=b"", layers=[file.getvalue()], composite=None)


def test_paint_is_white(tmp_path: Path) -> None:
    expected = np.zeros((30, 40))
    expected[:, :10] = 255
    paintings = Paintings(a=_painting(_layer()))
    sent = paintings.mask(SimpleNamespace(id="a"))
    _layer().save(tmp_path / "layer.png")
    file = paintings.mask(SimpleNamespace(id=None, layers=[SimpleNamespace(path=str(tmp_path / "layer.png"))]))
    for mask in (sent, file):
        assert np.abs(np.asarray(mask, dtype=float) - expected).max() <= 1
    assert paintings.mask(SimpleNamespace(id="a")) is None  # it is kept no longer


def test_without_paint_there_is_no_mask() -> None:
    paintings = Paintings(a=_painting(Image.new("RGBA", (40, 30))))
    assert paintings.mask(None) is None
    assert paintings.mask(SimpleNamespace(id=None, layers=[])) is None
    assert paintings.mask(SimpleNamespace(id="a")) is None


def test_few_and_small_paintings_are_kept() -> None:
    paintings = Paintings()
    with pytest.raises(ValueError, match="bytes"):
        paintings["a"] = SimpleNamespace(background=None, layers=[None, b"x" * (MOST_BYTES + 1)], composite=None)
    for number in range(MOST_WAITING + 5):
        paintings[str(number)] = _painting(_layer())
        paintings[str(number)] = _painting(_layer())
    assert len(paintings) == MOST_WAITING
    assert paintings.mask(SimpleNamespace(id="4")) is None
    assert paintings.mask(SimpleNamespace(id="5")) is not None


def test_a_painting_is_no_bomb() -> None:
    paintings = Paintings(a=_painting(Image.new("RGBA", (3000, 3000))))
    with pytest.raises(ValueError, match="too large"):
        paintings.mask(SimpleNamespace(id="a"))
