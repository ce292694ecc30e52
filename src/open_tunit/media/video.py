"""Films become pictures here, one at a time, and pictures become films again, by the ffmpeg of imageio-ffmpeg."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from open_tunit.files import write_atomic

FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""Suffixes of the films that are read."""
WRITTEN = (".mp4", ".mov")
"""Suffixes of the films that are written."""
READ_ONLY_FROM = ("-protocol_whitelist", "file", "-format_whitelist", "mov,mp4,matroska,webm,avi")
"""For ffmpeg, before an input: a playlist called .mp4 would make it open other files and addresses."""
RATE_FACTOR = "18"
"""x264's constant rate factor; its guide calls 18 visually lossless."""
COPIED_SOUND = {"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}
"""Codecs that MP4 and MOV hold; sound of another one is encoded again, as AAC."""
MATRICES = {
    "bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "smpte170m", "fcc": "fcc", "smpte240m": "smpte240m",
    "bt2020nc": "bt2020", "bt2020c": "bt2020",
}  # fmt: skip
"""ffmpeg's name of a stream's YCbCr matrix -> that of its scale filter."""
HD_LINES = 720
"""From this height on players take an untagged film for BT.709, below it for BT.601."""
BROKEN_OFF = re.compile(r"partial file|prematurely|Invalid data found|Error during demuxing|Decoding error")
"""What ffmpeg reports of a film that is cut off or damaged, often with exit code 0."""


class UnreadableFilm(ValueError):
    """A file that holds no film that can be decoded."""


class DamagedFilm(UnreadableFilm):
    """A film that breaks off, or that is damaged on the way; raised after the frames that could be decoded."""


class UnwritableFilm(OSError):
    """ffmpeg could not write a film; the message is its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """How the pixels of a film are meant to be shown."""

    matrix: str
    """Of YCbCr, by ffmpeg's name: bt709, smpte170m, ..."""
    full_range: bool = False
    """Whether luma fills 0 to 255, not 16 to 235."""
    primaries: str | None = None
    transfer: str | None = None
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""

    @classmethod
    def usual(cls, height: int) -> Look:
        """What players take a film of this height for that says nothing of itself."""
        return cls(matrix="bt709" if height >= HD_LINES else "smpte170m")


@dataclasses.dataclass(frozen=True)
class Film:
    """A film that is being read."""

    frames: Iterator[Image.Image]
    """Upright RGB pictures of one size, decoded as they are asked for; they may end in DamagedFilm."""
    frames_per_second: Fraction
    look: Look


def is_film(path: Path) -> bool:
    """Whether the suffix is a film's."""
    return path.suffix.lower() in FILMS


@contextmanager
def read_film(path: Path) -> Iterator[Film]:
    """A film, opened; one of a changing frame rate is given a constant one.

    Raises FileNotFoundError, UnreadableFilm, ValueError when no ffmpeg is installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    size, rate, look = _probe(path)
    values = "pc" if look.full_range else "tv"
    filters = f"scale=in_color_matrix={MATRICES[look.matrix]}:in_range={values}:out_range=pc,format=rgb24"
    command = [*_reading(path), "-map", "0:v:0", "-vf", filters, "-fps_mode", "cfr", "-r", str(rate)]
    command += ["-f", "rawvideo", "-"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        assert process.stdout is not None
        try:
            yield Film(_frames(process, size, messages, path), rate, look)
        finally:
            process.kill()


def write_film(
    path: Path,
    frames: Iterable[Image.Image],
    frames_per_second: Fraction | float,
    *,
    look: Look | None = None,
    sound_of: Path | None = None,
) -> None:
    """Write an MP4 or MOV (H.264) of frames of one size atomically, with the sound of another film if that has any.

    `look` None is the usual one of its height. A side of an odd number of pixels takes colour at full resolution, which
    not every player shows. Raises ValueError when there are no frames or no ffmpeg is installed, UnwritableFilm.
    """
    ordered = iter(frames)
    first = next(ordered, None)
    if first is None:
        raise ValueError(f"no frames to write to {path}")
    width, height = first.size
    command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(frames_per_second), "-i", "-"]
    if sound_of is not None:
        codecs = set(re.findall(r"Stream #.*: Audio: (\w+)", _described(sound_of)))
        sound = "copy" if codecs <= COPIED_SOUND else "aac"
        command += [*READ_ONLY_FROM, "-i", f"file:{sound_of}", "-map", "0:v", "-map", "1:a?", "-c:a", sound]
    command += ["-c:v", "libx264", "-crf", RATE_FACTOR, *_as_shown(look or Look.usual(height), width, height)]
    command += ["-movflags", "+faststart"]
    pictures = itertools.chain([first], ordered)
    write_atomic(path, lambda target: _pour(pictures, [*command, f"file:{target}"], path))


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


def _reading(path: Path, level: str = "error") -> list[str]:
    return [ffmpeg(), "-v", level, "-nostdin", *READ_ONLY_FROM, "-i", f"file:{path}"]


def _described(path: Path) -> str:
    """What ffmpeg prints of a film's streams."""
    done = subprocess.run(_reading(path, "info"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return done.stderr.decode(errors="replace")


def _probe(path: Path) -> tuple[tuple[int, int], Fraction, Look]:
    """Width and height as shown, frames per second, and look, of the first frame (YUV4MPEG2's header, showinfo)."""
    command = [*_reading(path, "info"), "-map", "0:v:0", "-frames:v", "1", "-vf", "showinfo"]
    done = subprocess.run([*command, "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-"], capture_output=True)
    header = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+)", done.stdout)
    if header is None:
        raise UnreadableFilm(f"{path} is not a film, or of a kind that cannot be read")
    width, height, frames, seconds = map(int, header.groups())
    described = done.stderr.decode(errors="replace")
    found = dict(re.findall(r"\bcolor_(range|space|primaries|trc):(\w+)", described))
    known = {name: value for name, value in found.items() if value not in ("unknown", "reserved")}
    aspect = re.search(r" sar:(\d+)/(\d+) ", described)
    wide, high = map(int, aspect.groups()) if aspect else (0, 0)
    matrix = known.get("space", "")
    look = Look(
        matrix=matrix if matrix in MATRICES else Look.usual(height).matrix,
        full_range=known.get("range") == "pc",
        primaries=known.get("primaries"),
        transfer=known.get("trc"),
        pixel_aspect=Fraction(wide, high) if wide and high else Fraction(1),
    )
    return (width, height), Fraction(frames, seconds), look


def _as_shown(look: Look, width: int, height: int) -> list[str]:
    """ffmpeg's words to encode RGB frames with this look, and to say so in the film."""
    values = "pc" if look.full_range else "tv"
    sampling = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    aspect = f"{look.pixel_aspect.numerator}/{look.pixel_aspect.denominator}"
    scale = f"scale=in_range=pc:out_color_matrix={MATRICES[look.matrix]}:out_range={values},format={sampling}"
    parameters = f"range={values}:colorspace={look.matrix}"
    for name, value in (("color_primaries", look.primaries), ("color_trc", look.transfer)):
        parameters += "" if value is None else f":{name}={value}"
    return ["-vf", f"{scale},setsar={aspect},setparams={parameters}"]


def _frames(
    process: subprocess.Popen[bytes], size: tuple[int, int], messages: IO[bytes], path: Path
) -> Iterator[Image.Image]:
    assert process.stdout is not None
    length, count = size[0] * size[1] * 3, 0
    while len(pixels := process.stdout.read(length)) == length:
        count += 1
        yield Image.frombytes("RGB", size, pixels)
    text = _text(messages)
    if process.wait() or BROKEN_OFF.search(text):
        raise DamagedFilm(f"{path} is cut off or damaged: only {count} frames could be read")


def _pour(pictures: Iterable[Image.Image], command: list[str], path: Path) -> None:
    """Feed the pictures' pixels to `command`. Its messages go to a file, since a pipe that nobody reads fills up."""
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)
        assert process.stdin is not None
        try:
            for picture in pictures:
                pixels = picture.convert("RGB").tobytes()
                try:
                    process.stdin.write(pixels)
                except OSError:  # the program has ended; its messages give the reason
                    break
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(OSError):  # closing writes what is buffered
                process.stdin.close()
            process.wait()
        text = _text(messages)
    if process.returncode:
        raise UnwritableFilm(f"ffmpeg could not write {path}: {text.splitlines()[-1] if text else process.returncode}")


def _text(messages: IO[bytes]) -> str:
    messages.seek(0)
    return messages.read().decode(errors="replace").strip()
