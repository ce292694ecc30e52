"""duplicates.py: the perceptual hash against the formula, neighbours against all pairs."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import encoded, picture
from PIL import Image, ImageEnhance

from open_tunit.data import duplicates
from open_tunit.data.duplicates import DISTANCE, first_within, phash


def _by_all_pairs(queries: list[int], base: list[int]) -> list[int]:
    near = ([j for j, other in enumerate(base) if (one ^ other).bit_count() <= DISTANCE] for one in queries)
    return [found[0] if found else -1 for found in near]


def _flipped(value: int, bits: list[int]) -> int:
    return value ^ sum(1 << bit for bit in bits)


FAMILIES = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), unique=True, max_size=6)), min_size=1, max_size=40
)
"""Four hashes with a few bits flipped: many lie just inside or outside the distance."""


def _hashes(family: list[tuple[int, list[int]]]) -> list[int]:
    return [_flipped((0, 2**64 - 1, 0x123456789ABCDEF0, 0x00000000FFFFFFFF)[kind], bits) for kind, bits in family]


@settings(max_examples=150, deadline=None)
@given(FAMILIES, FAMILIES)
def test_neighbours_are_those_of_all_pairs(
    queries: list[tuple[int, list[int]]], base: list[tuple[int, list[int]]]
) -> None:
    asked, others = _hashes(queries), _hashes(base)
    found = first_within(np.array(asked, dtype=np.uint64), np.array(others, dtype=np.uint64))
    assert found.tolist() == _by_all_pairs(asked, others)
    own = first_within(np.array(asked, dtype=np.uint64), np.array(asked, dtype=np.uint64))
    assert own.tolist() == _by_all_pairs(asked, asked)


def test_every_way_to_differ_in_three_bits_is_found() -> None:
    random = np.random.default_rng(0)
    base = [int(value) for value in random.integers(0, 2**64, 300, dtype=np.uint64)]
    queries = [_flipped(value, random.choice(64, 3, replace=False).tolist()) for value in base]
    found = first_within(np.array(queries, dtype=np.uint64), np.array(base, dtype=np.uint64))
    assert found.tolist() == list(range(300))


def test_few_pairs_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    base = [_flipped(0, random.choice(64, 5, replace=False).tolist()) for _ in range(200)]
    hashes = np.array(base, dtype=np.uint64)
    monkeypatch.setattr(duplicates, "AT_ONCE", 7)
    assert first_within(hashes, hashes).tolist() == _by_all_pairs(base, base)


def test_none_of_none() -> None:
    none, one = np.array([], dtype=np.uint64), np.array([5], dtype=np.uint64)
    assert first_within(none, one).tolist() == []
    assert first_within(one, none).tolist() == [-1]


def test_the_hash_is_that_of_the_formula() -> None:
    image = picture(3, (32, 32)).convert("L")
    grey = np.asarray(image).astype(float).tolist()
    values = [
        sum(
            grey[y][x] * math.cos(math.pi * v * (2 * y + 1) / 64) * math.cos(math.pi * u * (2 * x + 1) / 64)
            for y in range(32)
            for x in range(32)
        )
        for v in range(1, 9)
        for u in range(1, 9)
    ]
    median = sum(sorted(values)[31:33]) / 2
    expected = sum(1 << (63 - place) for place, value in enumerate(values) if value > median)
    assert phash(image) == expected


def _bits(one: Image.Image, other: Image.Image) -> int:
    first, second = phash(one), phash(other)
    assert first is not None
    assert second is not None
    return (first ^ second).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_done_to_pictures_changes_few_bits_and_another_picture_many(seed: int) -> None:
    image = picture(seed, (200, 160))
    saved = Image.open(io.BytesIO(encoded(image, "JPEG", quality=70)))
    for same in (saved, image.resize((100, 80)), ImageEnhance.Brightness(image).enhance(0.9), image.convert("L")):
        assert _bits(image, same) <= DISTANCE
    for other in (picture(seed + 100, (200, 160)), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.rotate(90)):
        assert _bits(image, other) > 4 * DISTANCE


def test_one_tone_has_no_hash() -> None:
    for colour in ("white", "#123456", (0, 0, 0)):
        assert phash(Image.new("RGB", (20, 30), colour)) is None
    assert phash(Image.new("RGB", (1, 1))) is None
    assert phash(Image.linear_gradient("L")) is not None
