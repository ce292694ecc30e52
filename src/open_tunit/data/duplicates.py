"""Pictures that are nearly the same: a perceptual hash, and neighbours found without comparing all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DISTANCE = 3
"""Most differing bits, of 64, of near duplicates: what a JPEG saved anew, another size or brightness changes."""
PARTS = 5
"""Of a hash: two that differ in at most DISTANCE bits agree in at least PARTS - DISTANCE of them, which is two."""
MASKS = tuple(
    np.uint64(sum(1 << bit for bit in range(64) if bit % PARTS in chosen))
    for chosen in itertools.combinations(range(PARTS), PARTS - DISTANCE)
)
"""The bits of each two parts."""
FIRST_COMPARED = 16
"""Hashes of the same key that are compared at first, and how many times more in each further round."""
SIDE, FREQUENCIES = 32, 8
FAINT = 2.0
"""Grey levels between the brightest and the darkest place of a picture that shows nothing."""
AT_ONCE = 2**20
"""Pairs compared at the same time: it bounds the memory."""
Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]


def phash(image: Image.Image) -> int | None:
    """64 bits that are the same, but for a few, for pictures that look alike; None for a picture of one tone.

    Each tells whether one of 8 x 8 low frequencies of a 32 x 32 cosine transform of the brightness lies above their
    median (Zauner, 2010, without the constant rows).
    """
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = np.asarray(small, dtype=np.float64)
    if np.ptp(grey) <= FAINT:
        return None
    frequencies = (COSINES @ grey @ COSINES.T).ravel()  # (64,)
    return int.from_bytes(np.packbits(frequencies > np.median(frequencies)).tobytes(), "big")


def _cosines() -> NDArray[np.float64]:
    frequency, place = np.arange(1, FREQUENCIES + 1)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))


COSINES = _cosines()
"""(8, 32), frequencies 1 to 8 of the cosine transform DCT-II."""


def first_within(queries: Hashes, base: Hashes) -> Indices:
    """The first position in `base` (N,) within DISTANCE bits of each of `queries` (M,); -1 where there is none.

    Only those are compared that agree in two of five parts, and the first ones first; the memory grows with N and M
    alone.
    """
    values, first = np.unique(base, return_index=True)
    asked, places = np.unique(queries, return_inverse=True)
    found = np.full(len(asked), len(base), dtype=np.int64)
    for mask in MASKS:
        order = np.lexsort((first, values & mask))
        keys = (values & mask)[order]
        start, end = (np.searchsorted(keys, asked & mask, side) for side in ("left", "right"))
        width = FIRST_COMPARED
        waiting = np.arange(len(asked))
        while True:
            waiting = waiting[start[waiting] < end[waiting]]
            waiting = waiting[first[order[start[waiting]]] < found[waiting]]  # those after are later still
            if not len(waiting):
                break
            for query, place in _pairs(start[waiting], np.minimum(end[waiting] - start[waiting], width)):
                query, candidate = waiting[query], order[place]
                near = _differing_bits(asked[query], values[candidate]) <= DISTANCE
                np.minimum.at(found, query[near], first[candidate[near]])
            start[waiting] += width
            width *= FIRST_COMPARED
    found[found == len(base)] = -1
    return found[places.reshape(-1)]


def _pairs(starts: Indices, counts: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Positions of queries, each with one of its candidates `starts` to `starts + counts`, AT_ONCE or few more."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = ends[begin] - counts[begin]
        stop = max(begin + 1, int(np.searchsorted(ends, done + AT_ONCE, "right")))
        part = counts[begin:stop]
        candidates = np.arange(part.sum()) + np.repeat(starts[begin:stop] - (ends[begin:stop] - part - done), part)
        yield np.repeat(np.arange(begin, stop), part), candidates
        begin = stop


def _differing_bits(one: Hashes, other: Hashes) -> NDArray[np.uint8]:
    bits: NDArray[np.uint8] = BITS[(one ^ other).view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.uint8)
    return bits


BITS = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)
"""How many bits of a byte are set."""
