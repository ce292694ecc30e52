"""video.py: films, checked with ffmpeg's own test pictures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("imageio_ffmpeg", reason="needs the extra `video`")

from open_tunit.media import video
from open_tunit.media.video import (
    UnreadableFilm,
    UnwritableFilm,
    ffmpeg,
    is_film,
    read_film,
    with_even_sides,
    write_film,
)

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120), (240, 240, 240)]


def _frames(size: tuple[int, int]) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in COLOURS]


def _ffmpeg(*words: str | Path) -> str:
    command = [ffmpeg(), "-y", "-loglevel", "info", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize("size", [(48, 40), (47, 39)])
def test_frames_come_back_in_order_shape_and_colour(tmp_path: Path, size: tuple[int, int]) -> None:
    write_film(tmp_path / "a.mp4", _frames(size), Fraction(24000, 1001))
    with read_film(tmp_path / "a.mp4") as film:
        pictures = list(film.frames)
    assert film.frames_per_second == Fraction(24000, 1001)
    assert [picture.size for picture in pictures] == [size] * len(COLOURS)
    for picture, colour in zip(pictures, COLOURS, strict=True):
        assert np.abs(np.asarray(picture).mean(axis=(0, 1)) - colour).max() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_can_be_left_before_its_end(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", _frames((640, 480)) * 20, 25)
    with read_film(tmp_path / "a.mp4") as film:
        assert next(film.frames).size == (640, 480)


def test_sound_is_kept_and_none_is_made_up(tmp_path: Path) -> None:
    loud, silent = tmp_path / "loud.mp4", tmp_path / "silent.mp4"
    sound = ("-f", "lavfi", "-i", "sine=d=1")
    _ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", *sound, loud)
    _ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", silent)
    for source, expected in ((loud, True), (silent, False)):
        write_film(tmp_path / "out.mp4", _frames((64, 48)), 5, sound_of=source)
        assert ("Audio: aac" in _ffmpeg("-i", tmp_path / "out.mp4", "-f", "null", "-")) is expected


def test_a_turned_film_is_read_upright(tmp_path: Path) -> None:
    lying, turned = tmp_path / "lying.mp4", tmp_path / "turned.mp4"
    _ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", lying)
    _ffmpeg("-display_rotation", "90", "-i", lying, "-c", "copy", turned)
    with read_film(lying) as flat, read_film(turned) as upright:
        first, second = (np.asarray(next(film.frames), dtype=int) for film in (flat, upright))
    assert second.shape == (64, 48, 3)
    assert np.abs(np.rot90(first) - second).mean() < 3


def _shown(path: Path, matrix: str) -> np.ndarray:
    """A pixel of the first frame, decoded by ffmpeg with this matrix, as a player would."""
    command = [ffmpeg(), "-v", "error", "-i", f"file:{path}", "-vf", f"scale=in_color_matrix={matrix},format=rgb24"]
    pixels = subprocess.run([*command, "-frames:v", "1", "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(pixels, dtype=np.uint8)[:3].astype(int)


@pytest.mark.parametrize(
    ("size", "tag", "matrix"),
    [
        ("1280x720", "bt709", "bt709"),
        ("1280x720", None, "bt709"),
        ("64x48", "bt709", "bt709"),
        ("64x48", None, "bt601"),
    ],
)
def test_the_matrix_of_a_film_is_kept(tmp_path: Path, size: str, tag: str | None, matrix: str) -> None:
    source, copy = tmp_path / "a.mp4", tmp_path / "b.mp4"
    tags = f":colorspace={tag}:color_primaries={tag}:color_trc={tag}" if tag else ":colorspace=unknown"
    filters = f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p,setparams=range=tv{tags}"
    _ffmpeg("-f", "lavfi", "-i", f"color=c=0x20C040:s={size}:r=5:d=0.4", "-vf", filters, source)
    with read_film(source) as film:
        frames = list(film.frames)
        write_film(copy, frames, film.frames_per_second, look=film.look)
    assert np.abs(np.asarray(frames[0])[0, 0].astype(int) - _shown(source, matrix)).max() <= 3
    assert np.abs(_shown(copy, matrix) - _shown(source, matrix)).max() <= 4
    with read_film(copy) as film:
        assert film.look.matrix == {"bt709": "bt709", "bt601": "smpte170m"}[matrix]
        assert film.look.primaries == tag


def test_range_and_oblong_pixels_are_kept(tmp_path: Path) -> None:
    filters = "scale=out_range=pc,format=yuv420p,setsar=16/15"
    picture = ("-f", "lavfi", "-i", "color=c=0xF0F0F0:s=64x48:r=5:d=0.4")
    _ffmpeg(*picture, "-vf", filters, "-color_range", "pc", tmp_path / "a.mp4")
    with read_film(tmp_path / "a.mp4") as film:
        write_film(tmp_path / "b.mp4", film.frames, 5, look=film.look)
    with read_film(tmp_path / "b.mp4") as film:
        assert (film.look.full_range, film.look.pixel_aspect) == (True, Fraction(16, 15))
        assert np.abs(np.asarray(next(film.frames), dtype=int) - 0xF0).max() <= 3


def test_sound_that_mp4_cannot_hold_is_encoded_again(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-c:a", "wmav2")
    _ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", *sound, "-f", "matroska", tmp_path / "a.mp4")
    write_film(tmp_path / "out.mp4", _frames((64, 48)), 5, sound_of=tmp_path / "a.mp4")
    assert "Audio: aac" in _ffmpeg("-i", tmp_path / "out.mp4", "-f", "null", "-")


def test_names_that_look_like_addresses_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cam:1.mp4", "-y.mov", "12:30 ü.mp4"):
        write_film(Path(name), _frames((64, 48)), 5)
        with read_film(Path(name)) as film:
            write_film(Path(f"copy {name}"), film.frames, 5, sound_of=Path(name))


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    write_film(tmp_path / "secret.mp4", _frames((64, 48)), 5)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'secret.mp4'}'\n")
    (tmp_path / "hls.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path / 'secret.mp4'}\n")
    for name in ("list.mp4", "hls.mp4"):
        with pytest.raises(UnreadableFilm, match="is not a film"), read_film(tmp_path / name):
            pass


def test_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    with pytest.raises(UnreadableFilm, match=r"bad\.mp4 is not a film"), read_film(tmp_path / "bad.mp4"):
        pass
    with pytest.raises(FileNotFoundError, match=r"no\.mp4 does not exist"), read_film(tmp_path / "no.mp4"):
        pass


def test_a_film_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"mine")
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    with pytest.raises(UnwritableFilm, match=r"ffmpeg could not write .*a\.mp4"):
        write_film(tmp_path / "a.mp4", _frames((640, 480)) * 20, 25, sound_of=tmp_path / "bad.mp4")
    with pytest.raises(ValueError, match="no frames"):
        write_film(tmp_path / "a.mp4", [], 25)
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2


def _program(path: Path, text: str) -> str:
    """An executable in place of ffmpeg."""
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\nfrom pathlib import Path\n{text}")
    path.chmod(0o755)
    return str(path)


def test_an_error_of_the_pictures_source_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    deaf = _program(tmp_path / "deaf", f"os.close(0); Path({str(closed)!r}).touch(); time.sleep(600)")
    monkeypatch.setattr(video, "ffmpeg", lambda: deaf)

    def stopping() -> Iterator[Image.Image]:
        yield Image.new("RGB", (16, 16))
        yield Image.new("RGB", (16, 16))  # stays in our buffer, which nobody reads from the other side any more
        while not closed.exists():
            time.sleep(0.01)
        raise RuntimeError("stopped")

    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match="stopped"):
        write_film(tmp_path / "out" / "a.mp4", stopping(), 25)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.timeout(60)
def test_a_program_of_many_messages_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = "sys.stderr.write('so much\\n' * 100_000); sys.stderr.write('the last\\n'); sys.stderr.flush()\n"
    talker = _program(tmp_path / "talker", talk + "sys.stdin.buffer.read(); sys.exit(3)")
    monkeypatch.setattr(video, "ffmpeg", lambda: talker)
    with pytest.raises(UnwritableFilm, match=r"the last$"):
        write_film(tmp_path / "a.mp4", _frames((640, 480)), 25)


def test_sides_become_even_without_a_shift() -> None:
    odd = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    even = np.asarray(with_even_sides(odd))
    assert even.shape == (6, 8, 3)
    assert np.array_equal(even[:5, :7], np.asarray(odd))
    assert np.array_equal(even[:5, 7], np.asarray(odd)[:, 6])
    assert with_even_sides(Image.new("RGB", (6, 4))).size == (6, 4)


def test_films_by_their_suffix() -> None:
    names = ("a.mp4", "a.MP4", "a.mov", "a.gif", "mp4")
    assert [is_film(Path(name)) for name in names] == [True, True, True, False, False]
