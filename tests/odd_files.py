"""Odd files as people's folders hold them: what is in them, and what is to become of them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

LEFT_OUT, USED, PASSED_OVER = "left out", "used", "passed over"
GARBLED_KINDS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")


def picture(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Blobs of a seed: pictures of two seeds look different."""
    coarse = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_odd_files(root: Path) -> dict[str, tuple[str, str]]:
    """Write them below `root`; returns path -> use, and the finding's name (converted) or its reason's beginning."""
    told: dict[str, tuple[str, str]] = {}

    def put(name: str, content: bytes, use: str, why: str = "") -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        told[name] = use, why

    _plain(put)
    _deep(put)
    _damaged(put)
    _foreign(put)
    _beside(put)
    for name, target, why in (
        ("links/dead.png", "nowhere.png", "is a link to nothing"),
        ("links/self.png", "self.png", "is a link to nothing"),
        ("links/up", "..", "is a link to a folder that it lies in"),
        ("links/unmounted", "/nowhere/at/all", "is a link to nothing"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        os.symlink(target, root / name)
        told[name] = LEFT_OUT, why
    os.mkfifo(root / "pipe.png")
    told["pipe.png"] = LEFT_OUT, "is no regular file"
    (root / "named.png").mkdir()
    return told


def garbled(seed: int) -> tuple[str, bytes]:
    """A name, and a picture file of which some bytes are others, some are missing, or some are doubled."""
    random = np.random.default_rng(seed)
    kind = GARBLED_KINDS[seed % len(GARBLED_KINDS)]
    content = bytearray(encoded(picture(seed), kind))
    for _ in range(int(random.integers(1, 12))):
        start = int(random.integers(0, len(content)))
        length = int(random.integers(1, 9))
        change = int(random.integers(0, 3))
        content[start : start + length] = (
            b"" if change == 0 else content[start : start + length] * 2 if change == 1 else random.bytes(length)
        )
    return f"garbled/{seed:03d}.{kind.lower()}", bytes(content)


def _plain(put) -> None:  # type: ignore[no-untyped-def]
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [picture(seed).quantize(16) for seed in (101, 102)]
    transparent = picture(3).convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize((48, 40)))
    put("plain.png", encoded(picture(1), "PNG"), USED)
    put("progressive.jpg", encoded(picture(2), "JPEG", progressive=True), USED)
    put("rätsel 猫.webp", encoded(picture(4), "WEBP"), USED)
    put("new\nline.bmp", encoded(picture(5), "BMP"), USED)
    put(os.fsdecode(b"latin-\xe9.png"), encoded(picture(6), "PNG"), USED)
    put("wrong-suffix.jpg", encoded(picture(7), "PNG"), USED)
    put("turned.jpg", encoded(picture(8), "JPEG", exif=exif), USED, "orientation")
    put("transparent.png", encoded(transparent, "PNG"), USED, "transparency")
    put("palette.png", encoded(picture(9).quantize(16), "PNG"), USED, "palette")
    put("cmyk.jpg", encoded(picture(10).convert("CMYK"), "JPEG"), USED, "cmyk")
    put("moving.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), USED, "frames")
    put("moving.webp", encoded(frames[0].convert("RGB"), "WEBP", save_all=True, append_images=frames), USED, "frames")
    put("pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), USED, "frames")
    put("black-and-white.png", encoded(picture(11).convert("1"), "PNG"), USED)
    put("one.png", encoded(Image.new("RGB", (1, 1)), "PNG"), USED, "one-tone")
    put("panorama.jpg", encoded(picture(12, (400, 20)), "JPEG"), USED, "elongated")
    put("blank.png", encoded(Image.new("RGB", (64, 64), "white"), "PNG"), USED, "one-tone")


def _deep(put) -> None:  # type: ignore[no-untyped-def]
    grey = np.asarray(picture(20).convert("L"), dtype=np.float32) / 255
    put("sixteen.png", encoded(Image.fromarray((grey * 65535).astype(np.uint16)), "PNG"), USED, "deep")
    put("twelve.png", encoded(Image.fromarray((grey.T * 4095).astype(np.uint16)), "PNG"), USED, "12-bit")
    put("integers.tif", encoded(Image.fromarray((grey[::-1] * 200).astype(np.int32)), "TIFF"), USED, "deep")
    put("floats.tif", encoded(Image.fromarray(grey[:, ::-1].copy()), "TIFF"), USED, "float")
    holes = grey.T[::-1].copy()
    holes[0, :3] = (np.nan, np.inf, -np.inf)
    put("holes.tif", encoded(Image.fromarray(holes), "TIFF"), USED, "float")


def _damaged(put) -> None:  # type: ignore[no-untyped-def]
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF"):
        whole = encoded(picture(30, (96, 80)), kind)
        put(f"cut/{kind.lower()}.{kind.lower()}", whole[: len(whole) // 2], LEFT_OUT, "is cut short")
    put("cut/header.png", encoded(picture(31), "PNG")[:16], LEFT_OUT, "")
    broken = bytearray(encoded(picture(32), "PNG"))
    broken[60:70] = bytes(10)
    put("broken.png", bytes(broken), LEFT_OUT, "cannot be decoded")
    put("empty.png", b"", LEFT_OUT, "is not an image: the file is empty")
    put("text.png", b"not a picture at all", LEFT_OUT, "is not an image")
    put("huge.png", _header_of(60_000, 60_000), LEFT_OUT, "has too many pixels")
    put("nothing-wide.png", _header_of(0, 10), LEFT_OUT, "")


def _foreign(put) -> None:  # type: ignore[no-untyped-def]
    heic = b"\0\0\0\x18ftypheic" + bytes(90)
    put("phone.HEIC", heic, LEFT_OUT, "is HEIC")
    put("renamed-heic.jpg", heic, LEFT_OUT, "is HEIC")
    put("renamed-avif.jpg", b"\0\0\0\x1cftypavif" + bytes(90), LEFT_OUT, "is AVIF")
    put("web.avif", b"x", LEFT_OUT, "is AVIF")
    put("scan.jp2", b"x", LEFT_OUT, "is JPEG 2000")
    put("camera.CR2", b"x", LEFT_OUT, "is a camera's raw format")
    put("renamed-eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n", LEFT_OUT, "is PostScript or PDF")
    put("page.jpg", b"<!DOCTYPE html><html><body>404", LEFT_OUT, "is a web page")
    put("pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", LEFT_OUT, "is a Git LFS pointer")
    put("film.jpg", b"\0\0\0\x20ftypisom" + bytes(90), LEFT_OUT, "is a film")
    put("drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', LEFT_OUT, "is SVG")


def _beside(put) -> None:  # type: ignore[no-untyped-def]
    put(".DS_Store", b"x", PASSED_OVER, "belongs to a file manager")
    put("._plain.png", b"x", PASSED_OVER, "is a sidecar of macOS")
    put(".hidden.png", encoded(picture(40), "PNG"), PASSED_OVER, "is hidden")
    put("labels.csv", b"file,label\n", PASSED_OVER, "is no picture")
    put("clip.mp4", b"x", PASSED_OVER, "is no picture")


def _header_of(width: int, height: int) -> bytes:
    """A PNG that says to have so many pixels, and has none."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
