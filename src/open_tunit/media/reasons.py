"""Why a file is left out: by its suffix, its first bytes, or the error that reading it raised."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from open_tunit.media.encoded import Source, first_bytes, length

EMPTY = "is not an image: the file is empty"
NO_FILE = "is no regular file"
NO_IMAGE = "is not an image, or of a kind that cannot be read"
CUT_SHORT = "is cut short"
DAMAGED = "cannot be decoded"
HEADER = f"{DAMAGED}: its header is damaged or cut short"
FILM = "is a film, not a picture"


class Foreign(NamedTuple):
    """A kind of picture that is not read."""

    name: str
    converter: str
    """What makes a PNG or JPEG of it."""
    suffixes: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why such a file is left out."""
        return f"is {self.name}, which is not read; {self.converter} makes a PNG or JPEG of it"


AVIF = Foreign("AVIF", "avifdec (libavif)", (".avif", ".avifs"))
HEIC = Foreign("HEIC", "heif-convert (libheif)", (".heic", ".heif", ".hif"))
JPEG_2000 = Foreign("JPEG 2000", "opj_decompress (OpenJPEG)", (".j2k", ".jp2", ".jpf", ".jpx"))
JPEG_XL = Foreign("JPEG XL", "djxl (libjxl)", (".jxl",))
LAYERS = Foreign("a file of layers", "ImageMagick", (".psb", ".psd", ".xcf"))
POSTSCRIPT = Foreign("PostScript or PDF", "Ghostscript", (".ai", ".eps", ".ps"))
RAW = Foreign(
    "a camera's raw format",
    "darktable-cli",
    (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"),
)
SVG = Foreign("SVG", "rsvg-convert (librsvg)", (".svg",))
OTHERS = (
    Foreign("DICOM", "dcm2img (DCMTK)", (".dcm",)),
    Foreign("DjVu", "ddjvu (DjVuLibre)", (".djvu",)),
    Foreign("JPEG XR", "JxrDecApp (jxrlib)", (".jxr", ".wdp")),
    *(
        Foreign(suffix[1:].upper(), "ImageMagick", (suffix,))
        for suffix in (
            ".cur", ".dds", ".exr", ".fits", ".hdr", ".icns", ".ico", ".pcx", ".qoi", ".sgi", ".tga", ".wmf", ".xbm",
            ".xpm",
        )
    ),
)  # fmt: skip
FOREIGN = (AVIF, HEIC, JPEG_2000, JPEG_XL, LAYERS, POSTSCRIPT, RAW, SVG, *OTHERS)
BY_SUFFIX = {suffix: kind for kind in FOREIGN for suffix in kind.suffixes}
READ_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
SIGNATURES = (
    (b"\0\0\0\x0cjP  ", JPEG_2000.reason),
    (b"\xff\x4f\xff\x51", JPEG_2000.reason),
    (b"\xff\x0a", JPEG_XL.reason),
    (b"\0\0\0\x0cJXL ", JPEG_XL.reason),
    (b"8BPS", LAYERS.reason),
    (b"%!PS", POSTSCRIPT.reason),
    (b"%PDF", POSTSCRIPT.reason),
    (b"\xc5\xd0\xd3\xc6", POSTSCRIPT.reason),
    (b"<svg", SVG.reason),
    (b"<!doctype html", "is a web page, not a picture"),
    (b"<html", "is a web page, not a picture"),
    (b"version https://git-lfs", "is a Git LFS pointer, not a picture; git lfs pull fetches it"),
)
"""How files begin, in small letters where they are text, and what that makes of them."""
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), AVIF.reason),
    b"crx ": RAW.reason,
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), HEIC.reason),
}
"""In files that begin with the box `ftyp`, in order; others of them are films."""
LOOKED_AT = 64
"""First bytes of a file."""


def of_error(error: Exception, source: Source | None = None) -> str:
    """Why a picture cannot be read, from what Pillow or the system raised; `source` is None where it has no bytes."""
    try:
        return _of_error(error, source)
    except OSError as refused:  # the file was there when Pillow read it
        return f"cannot be read: {refused.strerror}"


def of_bytes(head: bytes) -> str:
    """Why a file that Pillow does not know is left out, by how it begins."""
    if not head:
        return EMPTY
    if head.startswith(READ_SIGNATURES) or _is_webp(head):
        return HEADER
    if head[4:8] == b"ftyp":
        return next((reason for brand, reason in BRANDS.items() if brand in head[8:]), FILM)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = (reason for start, reason in SIGNATURES if head.startswith(start) or text.startswith(start))
    return next(found, SVG.reason if b"<svg" in text else NO_IMAGE)


def kind(reason: str) -> str:
    """What a reason has in common with those of other files: without the details of this one."""
    return reason.partition(": ")[0] if reason.startswith((CUT_SHORT, DAMAGED)) else reason


def _of_error(error: Exception, source: Source | None) -> str:
    if isinstance(error, UnidentifiedImageError):
        return NO_IMAGE if source is None else of_bytes(first_bytes(source, LOOKED_AT))
    if isinstance(error, Image.DecompressionBombError):
        return f"has too many pixels (the limit is {2 * (Image.MAX_IMAGE_PIXELS or 0):,})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    detail = " ".join(str(error).split()) or type(error).__name__
    early = isinstance(error, EOFError) or "truncated" in detail.lower() or "EOF" in detail
    return f"{CUT_SHORT if early or (source is not None and _lacks_bytes(source)) else DAMAGED}: {detail}"


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _lacks_bytes(source: Source) -> bool:
    """Whether a WebP file is shorter than it says; its decoder does not tell."""
    head = first_bytes(source, LOOKED_AT)
    return _is_webp(head) and length(source) < int.from_bytes(head[4:8], "little") + 8
