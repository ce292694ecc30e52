"""URLs of the kinds that fsspec opens: s3://, gs://, https://, ..."""

from __future__ import annotations

from typing import Any


def is_url(path: str) -> bool:
    """Whether `path` is no path of this machine."""
    return "://" in path


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the place there.

    Raises ModuleNotFoundError without fsspec, ValueError for a kind that it does not know or whose package is missing.
    """
    import fsspec

    try:
        system, place = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url} cannot be opened: {error}") from error
    return system, str(place)
