"""The built-in set: pure, frozen, balanced, and with a true answer to every translation."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2_contingency, chisquare
from sklearn.cluster import KMeans

from open_tunit.data import critters
from open_tunit.data.critters import (
    CONTENT_LEVELS,
    SPECIES,
    Content,
    Critter,
    critter,
    draw,
    head_mask,
    recoloured,
    true_answer,
)

SURE = 1e-4
"""A p-value that a fixed, fair sample does not fall under."""
FROZEN_PARAMETERS = "27902436c52fbfc916827f114fb22eabc1548c3710579c79231307f1cc1b93bf"
FROZEN_DRAWINGS = "0b081677a38d99b31ba2eb7b4466748be364ff6082416420c0c3e2b62c2d12ef"
"""Of exact pixels: none of these drawings has a value within 3e-5 of where uint8 rounding turns, and coordinates
disturbed by 1e-12 draw the same, so the last bits of a machine's sine do not matter."""


def everyone(count: int, species: int = 5) -> list[Critter]:
    return [critter(100, index, species=species) for index in range(count)]


def as_species(kind: int, index: int) -> Critter:
    return dataclasses.replace(critter(100, index), species=kind)


def test_a_critter_is_a_function_of_seed_and_index() -> None:
    assert critter(100, 7) == critter(100, 7)
    np.testing.assert_array_equal(draw(critter(100, 7), 32), draw(critter(100, 7), 32))
    assert len({repr(critter(seed, index)) for seed in (100, 101) for index in range(50)}) == 100


def test_content_and_style_do_not_depend_on_the_shares() -> None:
    for index in range(20):
        fair, unfair = critter(100, index, species=3), critter(100, index, species=5, shares=[0, 0, 0, 0, 1])
        assert (fair.content, fair.style) == (unfair.content, unfair.style)
        assert unfair.species == 4


def test_the_parameters_are_frozen() -> None:
    told = [dataclasses.asdict(critter(seed, index)) for seed in (0, 100) for index in range(20)]
    rounded = json.loads(json.dumps(told), parse_float=lambda text: f"{float(text):.6f}")
    assert hashlib.sha256(json.dumps(rounded).encode()).hexdigest() == FROZEN_PARAMETERS


def test_the_drawings_are_frozen() -> None:
    pictures = [draw(as_species(kind, index), 64) for kind in range(len(SPECIES)) for index in range(3)]
    assert len(pictures) == 30
    assert hashlib.sha256(np.stack(pictures).tobytes()).hexdigest() == FROZEN_DRAWINGS


def test_what_is_kept_of_drawings_is_kept_under_their_hash() -> None:
    assert hashlib.sha256((FROZEN_PARAMETERS + FROZEN_DRAWINGS).encode()).hexdigest() == critters.DRAWING


@pytest.mark.parametrize("kind", range(len(SPECIES)))
@pytest.mark.parametrize("size", [5, 32, 64])
def test_nothing_is_painted_outside_the_boxes_of_the_shapes(
    kind: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [dataclasses.replace(critter(1, index), species=kind) for index in range(20)]
    drawn = [(draw(each, size), head_mask(each, size)) for each in chosen]
    monkeypatch.setattr(critters._Canvas, "box", lambda *_: (slice(None), slice(None)))
    for (picture, mask), each in zip(drawn, chosen, strict=True):
        np.testing.assert_array_equal(picture, draw(each, size))
        np.testing.assert_array_equal(mask, head_mask(each, size))


def test_the_true_answer_has_the_sources_content_and_the_rest_of_the_reference() -> None:
    source, reference = critter(100, 0), critter(100, 3)
    assert source.species != reference.species
    assert source.content != reference.content
    answer = true_answer(source, reference)
    assert answer.content == source.content
    assert (answer.species, answer.style) == (reference.species, reference.style)


def test_recoloured_changes_the_background_alone() -> None:
    source, reference = critter(100, 0), critter(100, 1)
    lazy = recoloured(source, reference)
    assert (lazy.style.hue, lazy.style.value) == (reference.style.hue, reference.style.value)
    assert dataclasses.replace(lazy, style=source.style) == source
    changed = np.any(draw(lazy, 64) != draw(source, 64), axis=2)
    assert changed[head_mask(source, 64) == 0].all()
    assert not changed[head_mask(source, 64) == 1].any()


def test_levels_and_species_are_balanced_and_independent() -> None:
    critters = everyone(3000)
    kinds = [one.species for one in critters]
    assert chisquare(np.bincount(kinds, minlength=5)).pvalue > SURE
    for name, levels in CONTENT_LEVELS.items():
        table = np.zeros((5, levels))
        np.add.at(table, (kinds, [getattr(one.content, name) for one in critters]), 1)
        assert chisquare(table.sum(axis=0)).pvalue > SURE, name
        assert chi2_contingency(table).pvalue > SURE, name


def test_style_is_distributed_alike_in_all_species() -> None:
    critters = everyone(3000)
    kinds = np.array([one.species for one in critters])
    styles = np.array([dataclasses.astuple(one.style) for one in critters])
    assert styles.min() >= 0
    assert styles.max() <= 1
    means = np.stack([styles[kinds == kind].mean(axis=0) for kind in range(5)])
    standard_errors = styles.std(axis=0) / np.sqrt(600)
    assert (np.abs(means - styles.mean(axis=0)) < 4 * standard_errors).all()


def test_shares_are_followed() -> None:
    counted = Counter(critter(100, index, species=3, shares=[6, 3, 1]).species for index in range(2000))
    np.testing.assert_allclose([counted[kind] / 2000 for kind in range(3)], [0.6, 0.3, 0.1], atol=0.04)


@pytest.mark.parametrize("kind", range(len(SPECIES)), ids=SPECIES)
def test_the_mask_is_where_the_head_is(kind: int) -> None:
    one = as_species(kind, 3)
    other = dataclasses.replace(one, style=dataclasses.replace(one.style, hue=(one.style.hue + 0.5) % 1))
    same = np.all(draw(one, 64) == draw(other, 64), axis=2)
    mask = head_mask(one, 64)
    assert mask.shape == (64, 64)
    assert mask.dtype == np.float32
    assert same[mask == 1].all()
    assert not same[mask < 0.9].any()
    assert 0.1 < mask.mean() < 0.4


@pytest.mark.parametrize("kind", range(len(SPECIES)), ids=SPECIES)
def test_the_face_stays_in_the_picture(kind: int) -> None:
    """Ears may be cut at the border; eyes and mouth, which show gaze and mouth, never are."""
    for x, y, tilt in itertools.product((0, 2), (0, 2), range(3)):
        content = Content(x=x, y=y, size=1, tilt=tilt, gaze=0, mouth=0)
        one = dataclasses.replace(as_species(kind, 0), content=content)
        other = dataclasses.replace(one, content=dataclasses.replace(content, gaze=2, mouth=1))
        changed = np.any(draw(one, 64) != draw(other, 64), axis=2)
        assert changed.sum() > 200, content
        border = [changed[0], changed[-1], changed[:, 0], changed[:, -1]]
        assert not np.concatenate(border).any(), content


@pytest.mark.parametrize("factor", CONTENT_LEVELS)
def test_every_level_is_visible(factor: str) -> None:
    one = critter(100, 1)
    pictures = [
        draw(dataclasses.replace(one, content=dataclasses.replace(one.content, **{factor: level})), 32).astype(int)
        for level in range(CONTENT_LEVELS[factor])
    ]
    for first, second in itertools.combinations(pictures, 2):
        assert (np.abs(first - second).max(axis=2) > 60).sum() >= 4


def test_species_share_their_dark_pixels() -> None:
    """No species is darker than another, so a histogram of lightness says little."""
    lightness = [
        np.mean([draw(as_species(kind, i), 32)[head_mask(as_species(kind, i), 32) > 0.5].mean() for i in range(60)])
        for kind in range(len(SPECIES))
    ]
    assert np.ptp(lightness) < 30, dict(zip(SPECIES, lightness, strict=True))


@pytest.mark.parametrize("species", [3, 5])
def test_kmeans_on_pixels_does_not_find_the_species(species: int) -> None:
    critters = everyone(500, species)
    pixels = np.stack([draw(one, 16) for one in critters]).reshape(500, -1) / 255
    found = KMeans(species, n_init=3, random_state=0).fit_predict(pixels)
    table = np.zeros((species, species))
    np.add.at(table, (found, [one.species for one in critters]), 1)
    assert table[linear_sum_assignment(-table)].sum() / 500 <= 0.6


def test_a_picture_is_uint8_rgb_of_any_size() -> None:
    for size in (8, 33, 64):
        pixels = draw(critter(100, 0), size)
        assert pixels.shape == (size, size, 3)
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize("species", [1, 0, len(SPECIES) + 1])
def test_a_wrong_number_of_species_is_refused(species: int) -> None:
    with pytest.raises(ValueError, match=f"species is {species}; expected 2 to {len(SPECIES)}"):
        critter(100, 0, species=species)


@pytest.mark.parametrize("shares", [[1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, float("nan"), 1.0]])
def test_wrong_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shares are .*; expected 3 numbers"):
        critter(100, 0, species=3, shares=shares)
