"""Pictures from the wild: whatever is in a file, training leaves it out by name or uses it, and so does translate."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cases import Outcome, Place, command, ended, picture
from PIL import Image
from stopped_runs import straight

from open_tunit.data.dataset import open_dataset
from open_tunit.settings.config import Data

Random = np.random.Generator
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif", "PPM": ".ppm"}
GOOD = 6
"""Pictures beside the odd one, so that a folder can be trained on."""


def tried(place: Place, random: Random, number: int) -> Outcome:
    """One odd file, to what reads folders for training and to `tunit translate`."""
    folder = place.fresh("odd")
    folder.mkdir()
    for path in place.some_pictures()[:GOOD]:
        shutil.copy(path, folder)
    make = ODD[number % len(ODD)]
    odd = make(folder, random)
    model, good = straight(place)[0] / "model", place.some_pictures()[0]
    shared = ("translate", "--model", model, "--out", place.fresh("out"))
    sessions = [
        ended(lambda: _opened(folder, place.fresh("cache-of-odd"))),
        ended(command(*shared, "--source", folder, "--reference", good)),
        ended(command(*shared, "--overwrite", "--source", odd, "--reference", good)),
        ended(command(*shared, "--overwrite", "--source", good, "--reference", odd)),
    ]
    faults = sessions[0].faults(0) + [fault for each in sessions[1:] for fault in each.faults(0, 2)]
    return Outcome(kind=make.__name__.strip("_"), ended=sessions, faults=faults)


def _opened(folder: Path, cache: Path) -> int:
    """0 where every picture is used or left out with a reason."""
    dataset = open_dataset(Data(folder=os.fspath(folder)), size=32, seed=0, cache=os.fspath(cache))
    return 0 if len(dataset.files) >= GOOD and all(reason for _, reason in dataset.unreadable) else 1


def _encoded(random: Random, kind: str, image: Image.Image | None = None) -> bytes:
    file = io.BytesIO()
    (image or picture(random)).save(file, kind)
    return file.getvalue()


def _some_kind(random: Random) -> str:
    return str(random.choice(KINDS))


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _cut(folder: Path, random: Random) -> Path:
    kind = _some_kind(random)
    content = _encoded(random, kind)
    return _written(folder, f"cut{SUFFIX[kind]}", content[: int(random.integers(len(content)))])


def _other_bytes(folder: Path, random: Random) -> Path:
    kind = _some_kind(random)
    content = bytearray(_encoded(random, kind))
    for place in random.integers(0, len(content), int(random.integers(1, 30))):
        content[place] = int(random.integers(256))
    return _written(folder, f"bytes{SUFFIX[kind]}", bytes(content))


def _other_header(folder: Path, random: Random) -> Path:
    kind = _some_kind(random)
    content = bytearray(_encoded(random, kind))
    for place in random.integers(0, 64, int(random.integers(1, 12))):
        content[place] = int(random.integers(256))
    return _written(folder, f"header{SUFFIX[kind]}", bytes(content))


def _noise(folder: Path, random: Random) -> Path:
    return _written(folder, f"noise{SUFFIX[_some_kind(random)]}", random.bytes(int(random.integers(0, 5000))))


def _other_suffix(folder: Path, random: Random) -> Path:
    return _written(folder, f"other{SUFFIX[_some_kind(random)]}", _encoded(random, _some_kind(random)))


def _program(folder: Path, random: Random) -> Path:
    texts = [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(touched) (w) file closefile showpage\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"#!/bin/sh\nexit 1\n",
        b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
        b"P6 99999999 99999999 255\n",
        b"II*\0" + b"\x08\0\0\0" + b"\xff\xff" * 40,
    ]
    return _written(folder, f"program{SUFFIX[_some_kind(random)]}", texts[int(random.integers(len(texts)))])


def _bomb(folder: Path, random: Random) -> Path:
    """A PNG of a kilobyte that says how large it is, and holds much less, or all of it in one colour."""
    width, height = (int(side) for side in random.choice([1, 100, 20_000, 60_000, 2**31 - 1], 2))
    rows = zlib.compress(bytes(int(random.integers(1, 2**20))), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )
    return _written(folder, "bomb.png", b"\x89PNG\r\n\x1a\n" + body)


def _odd_mode(folder: Path, random: Random) -> Path:
    modes = {"1": "PNG", "L": "TIFF", "LA": "PNG", "P": "GIF", "RGBA": "WEBP", "CMYK": "JPEG", "I;16": "PNG"}
    mode = str(random.choice([*modes, "F", "I", "YCbCr"]))
    if mode in ("I;16", "F", "I"):
        number = {"I;16": np.uint16, "F": np.float32, "I": np.int32}[mode]
        values = random.integers(0, int(random.choice([2, 4096, 65_536])), (40, 48)).astype(number)
        values = values / values.dtype.type(random.choice([1, 255])) if mode == "F" else values
        image = Image.fromarray(values)
    else:
        image = picture(random).convert(mode)
    kind = modes.get(mode, "JPEG" if mode == "YCbCr" else "TIFF")
    return _written(folder, f"mode{SUFFIX[kind]}", _encoded(random, kind, image))


def _odd_shape(folder: Path, random: Random) -> Path:
    width, height = (int(side) for side in random.choice([1, 2, 3, 31, 33, 3000], 2))
    kind = _some_kind(random)
    return _written(folder, f"shape{SUFFIX[kind]}", _encoded(random, kind, picture(random, width, height)))


def _animated(folder: Path, random: Random) -> Path:
    file, frames = io.BytesIO(), [picture(random) for _ in range(int(random.integers(2, 6)))]
    kind = str(random.choice(["GIF", "WEBP", "TIFF", "PNG"]))
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    content = file.getvalue()
    cut = len(content) if random.random() < 0.5 else int(random.integers(len(content)))
    return _written(folder, f"animated{SUFFIX[kind]}", content[:cut])


def _odd_tags(folder: Path, random: Random) -> Path:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = int(random.integers(0, 12))
    exif[0x010E] = "x" * int(random.integers(0, 60_000))
    profile = random.bytes(int(random.integers(0, 300)))
    kind = str(random.choice(["JPEG", "PNG", "WEBP"]))
    picture(random).save(file, kind, exif=exif.tobytes()[: int(random.integers(6, 70_000))], icc_profile=profile)
    return _written(folder, f"tags{SUFFIX[kind]}", file.getvalue())


def _odd_name(folder: Path, random: Random) -> Path:
    odd = "\u202e", "\udcff\udcfe", "caf\u00e9", "cafe\u0301"  # right to left, not UTF-8, composed and decomposed
    names = (*odd, " ", "a\nb", "x" * 250, "-rf", "a:b", "'\"$(touch x)`")
    return _written(folder, f"{names[int(random.integers(len(names)))]}.png", _encoded(random, "PNG"))


def _no_file(folder: Path, random: Random) -> Path:
    path = folder / "no-file.png"
    kind = int(random.integers(6))
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    else:
        path.symlink_to(("/dev/zero", "/nowhere", ".", "no-file.png")[kind - 2])
    return path


def _copy(folder: Path, random: Random) -> Path:
    """Many copies of one picture, some of them under other suffixes."""
    content = _encoded(random, "PNG")
    return [_written(folder, f"copy-{number}{SUFFIX[_some_kind(random)]}", content) for number in range(5)][-1]


ODD: list[Callable[[Path, Random], Path]] = [
    _cut, _other_bytes, _other_header, _noise, _other_suffix, _program, _bomb, _odd_mode, _odd_shape, _animated,
    _odd_tags, _odd_name, _no_file, _copy,
]  # fmt: skip
