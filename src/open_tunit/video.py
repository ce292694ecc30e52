"""Films become pictures here, one at a time, and pictures become films again, by the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from open_tunit.files import write_atomic

FILMS = (".mp4",)
"""Suffixes of the films that are read and written."""
RATE_FACTOR = "18"
"""x264's constant rate factor; its guide calls 18 visually lossless."""


class UnreadableFilm(ValueError):
    """A file that holds no film that can be decoded."""


def is_film(path: Path) -> bool:
    """Whether the suffix is a film's."""
    return path.suffix.lower() in FILMS


@contextmanager
def read_film(path: Path) -> Iterator[tuple[Fraction, Iterator[Image.Image]]]:
    """The frames per second and the upright RGB frames of a film, decoded as they are asked for.

    Raises FileNotFoundError, UnreadableFilm, ValueError when no ffmpeg is installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    size, rate = _size_and_rate(path)
    command = [ffmpeg(), "-v", "error", "-nostdin", "-i", str(path)]
    command += ["-map", "0:v:0", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield rate, _frames(process.stdout, size)
        finally:
            process.kill()


def write_film(
    path: Path, frames: Iterable[Image.Image], frames_per_second: Fraction | float, *, sound_of: Path | None = None
) -> None:
    """Write an MP4 (H.264) of frames of one size atomically, with the sound of another film if that has any.

    A side of an odd number of pixels takes colour at full resolution, which not every player shows. Raises
    ValueError when there are no frames or no ffmpeg is installed, OSError when ffmpeg fails.
    """
    ordered = iter(frames)
    first = next(ordered, None)
    if first is None:
        raise ValueError(f"no frames to write to {path}")
    width, height = first.size
    colours = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(frames_per_second), "-i", "-"]
    if sound_of is not None:
        command += ["-i", str(sound_of), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    command += ["-c:v", "libx264", "-crf", RATE_FACTOR, "-pix_fmt", colours, "-movflags", "+faststart"]
    pictures = itertools.chain([first], ordered)
    write_atomic(path, lambda target: _pour(pictures, [*command, str(target)], path))


def with_even_sides(frame: Image.Image) -> Image.Image:
    """The frame, with its last column or row doubled where their number is odd: every player shows such films."""
    if frame.width % 2 == frame.height % 2 == 0:
        return frame
    padding = ((0, frame.height % 2), (0, frame.width % 2), (0, 0))
    return Image.fromarray(np.pad(np.asarray(frame.convert("RGB")), padding, mode="edge"))


def ffmpeg() -> str:
    """The ffmpeg program; ValueError, with the line that mends it, when imageio-ffmpeg is not installed."""
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise ValueError(
            "films need imageio-ffmpeg: pip install -e '.[video]' in open-tunit's folder brings it"
        ) from error
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _size_and_rate(path: Path) -> tuple[tuple[int, int], Fraction]:
    """Width and height as shown, and frames per second, from the header line of the first frame in YUV4MPEG2."""
    command = [ffmpeg(), "-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-frames:v", "1"]
    command += ["-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    header = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+)", done.stdout)
    if header is None:
        raise UnreadableFilm(f"{path} is not a film, or of a kind that cannot be read")
    width, height, frames, seconds = map(int, header.groups())
    return (width, height), Fraction(frames, seconds)


def _frames(pipe: IO[bytes], size: tuple[int, int]) -> Iterator[Image.Image]:
    count = size[0] * size[1] * 3
    while len(pixels := pipe.read(count)) == count:
        yield Image.frombytes("RGB", size, pixels)


def _pour(pictures: Iterable[Image.Image], command: list[str], path: Path) -> None:
    """Feed the pictures' pixels to `command`."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for picture in pictures:
                process.stdin.write(picture.convert("RGB").tobytes())
            process.stdin.close()
        except BrokenPipeError:  # ffmpeg says why below
            with suppress(BrokenPipeError):
                process.stdin.close()
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise OSError(f"ffmpeg could not write {path}: {said.splitlines()[-1] if said else process.returncode}")
