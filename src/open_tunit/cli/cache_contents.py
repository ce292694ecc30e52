"""`tunit cache`."""

from __future__ import annotations

import time
from typing import Annotated

import tyro

MEGABYTE = 10**6


def cache(
    limit: float | None = None,
    clear: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """List the cache of decoded images, features and classifiers, or make it smaller; everything in it can be rebuilt.

    Args:
        limit: Delete what was not used for the longest time until at most so many megabytes are left.
        clear: Delete all of it. It lies in $XDG_CACHE_HOME/open-tunit, or ~/.cache/open-tunit.
    """
    from open_tunit.data.cache import default_cache_root
    from open_tunit.data.cache_upkeep import entries, shrink

    if clear and limit is not None:
        raise ValueError("cache takes --limit or --clear, not both")
    if limit is not None and limit < 0:
        raise ValueError(f"--limit is {limit:g}; expected 0 megabytes or more")
    root = default_cache_root()
    if clear or limit is not None:
        gone = shrink(root, -1 if limit is None else round(limit * MEGABYTE))
        print(f"deleted {len(gone)} entries, {sum(entry.bytes for entry in gone) / MEGABYTE:,.1f} MB")
    kept = entries(root)
    for entry in kept:
        used = time.strftime("%Y-%m-%d", time.localtime(entry.used))
        print(f"{entry.bytes / MEGABYTE:10,.1f} MB  {used}  {entry.title}")
    print(f"{sum(entry.bytes for entry in kept) / MEGABYTE:10,.1f} MB  in {root}")
