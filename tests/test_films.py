"""films.py: films through a model, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("imageio_ffmpeg", reason="needs the extra `video`")

from open_tunit import TUNIT, parts
from open_tunit.media.pictures import Source, counted_pixels
from open_tunit.media.video import DamagedFilm, read_film, write_film
from open_tunit.networks.colour_transfer import colour_map, moments, pooled
from open_tunit.translation import films
from open_tunit.translation.films import redraw_films, translate_film


@pytest.fixture
def frames(picture_folder: Path) -> list[Image.Image]:
    """Each unlike the one before."""
    pairs = zip(sorted(picture_folder.glob("disc_*.png")), sorted(picture_folder.glob("stripe_*.png")), strict=True)
    return [Image.open(path).convert("RGB") for pair in pairs for path in pair]


def _read(path: Path) -> list[np.ndarray]:
    with read_film(path) as film:
        return [np.asarray(frame, dtype=float) for frame in film.frames]


def test_each_frame_is_translated(tmp_path: Path, random_model: TUNIT, frames: list[Image.Image]) -> None:
    write_film(tmp_path / "a.mp4", frames, 5)
    translate_film(random_model, tmp_path / "a.mp4", tmp_path / "new" / "b.mov", domain=1)
    shown = [Image.fromarray(frame.astype(np.uint8)) for frame in _read(tmp_path / "a.mp4")]
    write_film(tmp_path / "expected.mp4", [random_model.translate(picture, domain=1) for picture in shown], 5)
    drawn, expected = _read(tmp_path / "new" / "b.mov"), _read(tmp_path / "expected.mp4")
    assert len(drawn) == len(expected) == len(frames)
    assert max(np.abs(a - b).mean() for a, b in zip(drawn, expected, strict=True)) < 1


def test_one_reference_or_domain(tmp_path: Path, random_model: TUNIT, frames: list[Image.Image]) -> None:
    write_film(tmp_path / "a.mp4", frames[:2], 5)
    for reference in (None, frames[:2]):
        with pytest.raises(ValueError, match="reference"):
            translate_film(random_model, tmp_path / "a.mp4", tmp_path / "b.mp4", reference)
    assert not (tmp_path / "b.mp4").exists()


def test_few_large_frames_at_once(
    tmp_path: Path, random_model: TUNIT, frames: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(tmp_path / "a.mp4", frames[:5], 5)
    monkeypatch.setattr(parts, "PIXELS_AT_ONCE", 2 * 48 * 40)
    seen: list[int] = []
    singly = films.singly
    monkeypatch.setattr(films, "singly", lambda G, x, *a, **b: seen.append(len(x)) or singly(G, x, *a, **b))
    translate_film(random_model, tmp_path / "a.mp4", tmp_path / "b.mp4", domain=0)
    assert seen == [2, 2, 1]


def test_a_film_under_a_mask_and_whole(tmp_path: Path, random_model: TUNIT, frames: list[Image.Image]) -> None:
    write_film(tmp_path / "a.mp4", frames[:3], 5)
    left = Image.new("L", (48, 40))
    left.paste(255, (0, 0, 24, 40))
    translate_film(random_model, tmp_path / "a.mp4", tmp_path / "b.mp4", domain=1, mask=left, whole=True)
    shown = [Image.fromarray(frame.astype(np.uint8)) for frame in _read(tmp_path / "a.mp4")]
    translated = [random_model.translate(picture, domain=1, whole=True, mask=left) for picture in shown]
    assert all(np.array_equal(np.array(a)[:, 24:], np.array(b)[:, 24:]) for a, b in zip(translated, shown, strict=True))
    write_film(tmp_path / "expected.mp4", translated, 5)
    drawn, expected = _read(tmp_path / "b.mp4"), _read(tmp_path / "expected.mp4")
    assert max(np.abs(a - b).mean() for a, b in zip(drawn, expected, strict=True)) < 1
    for mask, named in (("alpha", "film"), (Image.new("L", (9, 40)), r"a\.mp4 has 48 x 40")):
        with pytest.raises(ValueError, match=named):
            translate_film(random_model, tmp_path / "a.mp4", tmp_path / "c.mp4", domain=1, mask=mask)
    assert not (tmp_path / "c.mp4").exists()


def test_a_film_has_one_style_of_its_own(tmp_path: Path, random_model: TUNIT, frames: list[Image.Image]) -> None:
    """Half the strength walks from the mean of a frame a second, not from each frame's."""
    write_film(tmp_path / "a.mp4", frames[:6], 3)
    translate_film(random_model, tmp_path / "a.mp4", tmp_path / "b.mp4", domain=1, strength=0.5)
    shown = [Image.fromarray(frame.astype(np.uint8)) for frame in _read(tmp_path / "a.mp4")]
    style = (random_model.style([shown[0], shown[3]]).mean(dim=0) + random_model.domain_styles[1]) / 2
    write_film(tmp_path / "expected.mp4", random_model.redraw(shown, style[None]), 3)
    for drawn, expected in zip(_read(tmp_path / "b.mp4"), _read(tmp_path / "expected.mp4"), strict=True):
        assert np.abs(drawn - expected).mean() < 1


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("colours", ["source", "reference", 0.5])
def test_a_film_has_one_colour_map(
    tmp_path: Path,
    random_model: TUNIT,
    frames: list[Image.Image],
    colours: Any,
    masked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ground that does not move keeps its colour while something else comes into the picture."""
    mask = Image.new("L", frames[0].size)
    mask.paste(255, (0, 0, frames[0].width, frames[0].height // 2))
    mask = mask if masked else None
    moving = [frames[0].copy() for _ in range(6)]
    for number, frame in enumerate(moving):
        frame.paste("#ff0000", (frame.width - 2 * number, 0, frame.width, frame.height))
    write_film(tmp_path / "a.mp4", moving, 2)
    written: list[Image.Image] = []
    monkeypatch.setattr(films, "write_film", lambda target, drawn, *a, **b: written.extend(drawn))
    translate_film(random_model, tmp_path / "a.mp4", tmp_path / "b.mp4", domain=1, colours=colours, mask=mask)
    shown = [Image.fromarray(frame.astype(np.uint8)) for frame in _read(tmp_path / "a.mp4")]
    opened = [random_model.open(Source(frame, mask=mask)) for frame in shown]
    x = torch.stack([frame.content for frame in opened])
    with torch.inference_mode():
        code, own = random_model.domain_styles[1], random_model.style(x[::2]).mean(dim=0)
        at = {0.0: x, 1.0: random_model.G(x, code[None]), 0.5: random_model.G(x, torch.lerp(own, code, 0.5)[None])}
    style, other = {"source": (1.0, 0.0), "reference": (0.0, 1.0), 0.5: (1.0, 0.5)}[colours]
    counts = counted_pixels(opened[::2])
    one_map = colour_map(*(pooled([moments(at[strength][::2], counts)]) for strength in (style, other)))
    for drawn, frame, output in zip(written, opened, one_map(at[style]), strict=True):
        expected = np.asarray(frame.with_output(output), dtype=int)
        assert np.abs(np.asarray(drawn, dtype=int) - expected).max() <= 1


def _cut(source: Path, target: Path) -> Path:
    whole = source.read_bytes()
    target.write_bytes(whole[: len(whole) * 2 // 3])
    return target


def test_one_bad_film_stops_no_other(tmp_path: Path, random_model: TUNIT, frames: list[Image.Image]) -> None:
    noise = [Image.effect_noise((64, 48), 90).convert("RGB") for _ in range(30)]
    write_film(tmp_path / "good.mp4", frames, 5)
    write_film(tmp_path / "long.mp4", noise, 5)
    several = [tmp_path / "none.mp4", _cut(tmp_path / "long.mp4", tmp_path / "cut.mp4"), tmp_path / "good.mp4"]
    several[0].write_text("no film")
    failed: list[Exception] = []
    codes = random_model.domain_styles[:1]
    count = redraw_films(
        random_model, several, codes, lambda path, _: tmp_path / f"{path.stem}-out.mp4", failed=failed.append
    )
    assert count == 2
    assert [type(error).__name__ for error in failed] == ["UnreadableFilm", "DamagedFilm"]
    assert len(_read(tmp_path / "good-out.mp4")) == len(frames)
    assert 0 < len(_read(tmp_path / "cut-out.mp4")) < len(noise)
    with pytest.raises(DamagedFilm, match=r"cut\.mp4 is cut off or damaged: only \d+ frames"):
        _read(tmp_path / "cut.mp4")
