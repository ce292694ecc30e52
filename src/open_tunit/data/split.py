"""Train, validation and test parts: as the folders say, or by a hash of each file's content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test")
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of top-level folders, in any case, that decide the part of what they hold."""
VAL_SHARE = 0.05
TEST_SHARE = 0.05
SMALLEST_TRAIN = 2
"""The hash never leaves fewer training images than this (E's batch statistics need two), if there are as many."""


def split(files: Sequence[str], hashes: Sequence[str]) -> NDArray[np.str_]:
    """The part, "train", "val" or "test", of each file: (N,) strings.

    Folders `train`, `val` (`valid`, `validation`) and `test` at the top decide, files elsewhere are for training; of
    these, a missing `test` gets half of `val`, and a missing `val` 5 % of `train`. Otherwise val and test get 5 %
    each. Every choice depends on `hashes` (hexadecimal SHA-256 of the contents) alone, so copies of an image stay
    together and all machines agree.
    """
    given = [FOLDERS.get(file.split("/")[0].lower()) if "/" in file else None for file in files]
    parts = np.array([part or "train" for part in given], dtype="<U5")
    position = np.array([int(digest[:13], 16) / 16**13 for digest in hashes])  # (N,) uniform in [0, 1)
    free = parts == "train"
    if "val" in given:
        if "test" not in given:
            parts[(parts == "val") & (position < 0.5)] = "test"
    elif "test" in given:
        parts[free & (position < VAL_SHARE)] = "val"
    else:
        parts[position < VAL_SHARE + TEST_SHARE] = "test"
        parts[position < VAL_SHARE] = "val"
    needed = min(SMALLEST_TRAIN, int(free.sum()))
    for index in np.argsort(-position, kind="stable"):
        if np.count_nonzero(parts == "train") >= needed:
            break
        parts[free & (position == position[index])] = "train"
    return parts
