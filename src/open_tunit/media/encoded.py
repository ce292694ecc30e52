"""A picture's bytes that lie in no file of their own."""

from __future__ import annotations

import io
import os


class Encoded(io.BytesIO):
    """The bytes; `name` is how errors call the picture."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


Source = str | os.PathLike[str] | Encoded
"""From which a picture is read."""


def length(source: Source) -> int:
    """Number of bytes. Raises OSError."""
    return source.getbuffer().nbytes if isinstance(source, Encoded) else os.path.getsize(source)


def first_bytes(source: Source, count: int) -> bytes:
    """The first `count` bytes. Raises OSError."""
    if isinstance(source, Encoded):
        return source.getvalue()[:count]
    with open(source, "rb") as file:
        return file.read(count)
