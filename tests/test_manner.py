"""manner.py: which mask each source has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from open_tunit.media.images import UnreadableImage
from open_tunit.translation.manner import Manner, masks_for


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    for name in ("a.png", "b.tif", "deep/a.png", "deep/c.v2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def test_a_folder_has_masks_by_relative_name(masks: Path) -> None:
    names = {Path("s/a.jpg"): "a", Path("s/b.jpg"): "b", Path("s/deep/c.v2.jpg"): "deep/c.v2", Path("s/f.mp4"): "a"}
    found = masks_for(names, masks)
    assert [found[file] for file in names] == [masks / name for name in ("a.png", "b.tif", "deep/c.v2.png", "a.png")]


def test_names_that_suffixes_tell_apart(masks: Path) -> None:
    Image.new("L", (4, 4)).save(masks / "a.tif")
    names = {Path("s/a.png"): "a.png", Path("s/a.tif"): "a.tif"}
    assert list(masks_for(names, masks).values()) == [masks / "a.png", masks / "a.tif"]


def test_sources_without_a_mask_are_named(masks: Path) -> None:
    names = {Path("s/a.jpg"): "a", Path("s/c.jpg"): "c", Path("s/d.jpg"): "d"}
    with pytest.raises(ValueError, match=rf"{masks} has no mask for s/c\.jpg and 1 more"):
        masks_for(names, masks)


def test_one_for_all_none_or_their_own(tmp_path: Path) -> None:
    names = {Path("s/a.jpg"): "a", Path("s/b.jpg"): "b"}
    Image.linear_gradient("L").save(tmp_path / "m.png")
    for given in (tmp_path / "m.png", str(tmp_path / "m.png"), Image.linear_gradient("L")):
        found = masks_for(names, given)
        assert set(found) == set(names)
        assert all(np.array_equal(np.asarray(mask), np.asarray(Image.linear_gradient("L"))) for mask in found.values())
    assert masks_for(names, None) == {}
    assert masks_for(names, "alpha") == dict.fromkeys(names, "alpha")
    assert Manner(masks=masks_for(names, "alpha")).source(Path("s/a.jpg")).mask == "alpha"
    assert Manner().source(Path("s/a.jpg")).mask is None


def test_masks_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        masks_for({Path("a.jpg"): "a"}, tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UnreadableImage, match=r"text\.png"):
        masks_for({Path("a.jpg"): "a"}, tmp_path / "text.png")
    with pytest.raises(ValueError, match=r"f\.mp4 is a film"):
        masks_for({Path("a.jpg"): "a", Path("f.mp4"): "f"}, "alpha")
