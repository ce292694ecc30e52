"""A file fetched once: resumed when cut off, and trusted only when its hash is right."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
PARTIAL, DONE_ALREADY = 206, 416


def fetch(url: str, target: Path, sha256_prefix: str) -> Path:
    """`target`, downloaded from `url` unless it is there with the right hash.

    What came of a killed download lies beside it as TARGET.part and is resumed; the name is given only to a file
    whose SHA-256 begins with `sha256_prefix`, and a wrong one is fetched once more from its beginning. Raises
    ValueError where the download fails or the hash stays wrong.
    """
    if target.is_file() and file_sha256(target).startswith(sha256_prefix):
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            _append(url, part)
            if file_sha256(part).startswith(sha256_prefix):
                part.replace(target)
                return target
            part.unlink()
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ValueError(f"{url} cannot be fetched ({reason}); fetch it yourself and name it") from error
    raise ValueError(f"{url} is not the expected file: its SHA-256 does not begin with {sha256_prefix}")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(url: str, part: Path) -> None:
    """Download what `part` lacks; from the beginning where the server cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            if error.code == DONE_ALREADY:
                return
            raise
    with response, part.open("ab" if response.status == PARTIAL else "wb") as file:
        while piece := response.read(CHUNK):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
