"""Critters: the built-in set. Cartoon heads whose domain, content and style are known, so that every translation
has a true answer.

The species (ears, muzzle, coat pattern) is the domain; position, size, tilt, gaze and mouth are the content; coat
shade, pattern phase and background are the style. All three are drawn independently. Drawn from implicit shapes on
a supersampled grid with numpy alone: the same pixels everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from open_tunit.rng import rng

Array = NDArray[np.float64]
Field = Callable[[Array, Array], Array]
"""Of head coordinates x and y: positive inside, about a distance in head radii."""
Colour = Sequence[float] | Array

SPECIES = ("cat", "rabbit", "bear", "dog", "mouse", "fox", "panda", "owl", "frog", "koala")
CONTENT_LEVELS = {"x": 3, "y": 3, "size": 2, "tilt": 3, "gaze": 3, "mouth": 2}

DRAWING = "16d588511ef79acf283ebeb0aa8545e67af7b4f2ca2b6f63ff8393e0b7be88da"
"""Hash of parameters and pixels of fixed critters, which a test draws: what is kept of drawings is kept under it."""
SUPERSAMPLING = 3
CENTRE = (0.5, 0.59)
SHIFT = 0.085
"""Distance of neighbouring positions, as a share of the picture's side."""
RADII = (0.255, 0.32)
"""Radius of the head, as a share of the side."""
TILT_DEGREES = 20.0
DARK = 0.4
"""Shade of the pattern, as a share of the coat's."""
COATS = ((238, 216, 176), (232, 176, 104), (206, 128, 84), (166, 138, 126), (160, 164, 172), (206, 204, 204))
"""A ring of coat colours; each species wears COAT_SPREAD of it around its own place, so neighbours overlap."""
COAT_PLACES = (0.0, 0.3, 0.6, 0.15, 0.45, 0.75, 0.9, 0.22, 0.52, 0.82)
COAT_SPREAD = 0.5
WHITE, BLACK, PINK = (250, 250, 246), (34, 28, 30), (226, 138, 140)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """What a translation must keep; each a level from 0 to CONTENT_LEVELS - 1."""

    x: int
    y: int
    size: int
    tilt: int
    gaze: int
    mouth: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """What a translation takes from the reference beside the species; each in [0, 1)."""

    coat: float
    """Place within the species' range of coats."""
    light: float
    """Lightness of the coat."""
    phase: float
    """Shift of the pattern, in periods."""
    hue: float
    """Hue of the background, in turns."""
    value: float
    """Lightness of the background."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Critter:
    """One picture's truth."""

    species: int
    """Index into SPECIES."""
    content: Content
    style: Style


def critter(seed: int, index: int, *, species: int = 5, shares: Sequence[float] | None = None) -> Critter:
    """The critter number `index` of `seed`, of one of the first `species` SPECIES: a pure function.

    `shares` are the species' probabilities, in any unit; None = equal. Raises ValueError.
    """
    if not 2 <= species <= len(SPECIES):
        raise ValueError(f"species is {species}; expected 2 to {len(SPECIES)}")
    weights = np.ones(species) if shares is None else np.asarray(shares, dtype=np.float64)
    if (
        weights.shape != (species,)
        or not np.all(np.isfinite(weights))
        or not np.all(weights >= 0)
        or not weights.sum() > 0
    ):
        raise ValueError(f"shares are {shares}; expected {species} numbers, none below 0 and not all 0")
    generator = rng(seed, index)
    levels = {name: int(generator.integers(count)) for name, count in CONTENT_LEVELS.items()}
    coat, light, phase, hue, value, kind = generator.random(6)
    return Critter(
        species=int(np.searchsorted(np.cumsum(weights / weights.sum()), kind, side="right").clip(0, species - 1)),
        content=Content(**levels),
        style=Style(coat=coat, light=light, phase=phase, hue=hue, value=value),
    )


def true_answer(source: Critter, reference: Critter) -> Critter:
    """What translating `source` after `reference` should give: its content, the reference's species and style."""
    return dataclasses.replace(reference, content=source.content)


def recoloured(source: Critter, reference: Critter) -> Critter:
    """The lazy answer: the source with only the reference's background."""
    background = {"hue": reference.style.hue, "value": reference.style.value}
    return dataclasses.replace(source, style=dataclasses.replace(source.style, **background))


def draw(critter: Critter, size: int) -> NDArray[np.uint8]:
    """The picture, (size, size, 3) uint8."""
    canvas = _Canvas(critter, size)
    canvas.background()
    for shape, colour in _ears(critter):
        canvas.paint(shape, colour)
    coat = _coat(critter)
    canvas.paint(_HEAD, coat)
    canvas.paint(_within(_HEAD, _PATTERNS[critter.species](critter.style.phase)), _darker(coat))
    for part, paint in _face(critter, coat):
        canvas.paint(part, paint)
    return canvas.pixels()


def head_mask(critter: Critter, size: int) -> NDArray[np.float32]:
    """How much of each pixel the head with its ears covers, (size, size) in [0, 1]."""
    canvas = _Canvas(critter, size)
    covered = np.zeros(canvas.x.shape)
    for shape in (_HEAD, *(shape for shape, _ in _ears(critter))):
        box = canvas.box(shape)
        covered[box] = np.maximum(covered[box], canvas.coverage(shape, box))
    return _shrunk(covered).astype(np.float32)


def coat_mask(critter: Critter, size: int) -> NDArray[np.float32]:
    """How much of each pixel shows the coat of the head itself, not ears, eyes, muzzle or mouth: (size, size)."""
    canvas = _Canvas(critter, size)
    shown = np.zeros(canvas.x.shape)
    box = canvas.box(_HEAD)
    shown[box] = canvas.coverage(_HEAD, box)
    for part, _ in _face(critter, _coat(critter)):
        box = canvas.box(part)
        shown[box] *= 1 - canvas.coverage(part, box)
    return _shrunk(shown).astype(np.float32)


def pattern_mask(critter: Critter, size: int) -> NDArray[np.float32]:
    """How much of each pixel the dark of the species' coat pattern covers, face or not: (size, size) in [0, 1]."""
    canvas = _Canvas(critter, size)
    shape = _within(_HEAD, _PATTERNS[critter.species](critter.style.phase))
    covered, box = np.zeros(canvas.x.shape), canvas.box(shape)
    covered[box] = canvas.coverage(shape, box)
    return _shrunk(covered).astype(np.float32)


class Shape(NamedTuple):
    """One part of a head."""

    field: Field
    centre: tuple[float, float]
    """Of the largest circle inside, in head coordinates."""
    inner: float
    """That circle's radius."""
    reach: float
    """The most that the shape reaches from there."""


Box = tuple[slice, slice]


class _Canvas:
    """Head coordinates of every sample: the origin is the head's centre, 1 its radius, y points down."""

    def __init__(self, critter: Critter, size: int) -> None:
        content, self.style, self.size = critter.content, critter.style, size
        count = size * SUPERSAMPLING
        grid = (np.arange(count) + 0.5) / count
        radius = RADII[content.size]
        self.middle = CENTRE[0] + (content.x - 1) * SHIFT, CENTRE[1] + (content.y - 1) * SHIFT
        across = (grid[None, :] - CENTRE[0] - (content.x - 1) * SHIFT) / radius
        down = (grid[:, None] - CENTRE[1] - (content.y - 1) * SHIFT) / radius
        self.angle = math.radians((content.tilt - 1) * TILT_DEGREES)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        self.x = cos * across + sin * down
        self.y = -sin * across + cos * down
        self.samples_per_unit = count * radius
        self.colours = np.zeros((3, count, count))

    def background(self) -> None:
        top = np.array(_background(self.style))
        fade = np.linspace(1.04, 0.94, self.colours.shape[1])
        self.colours[:] = (top[:, None] * fade)[..., None]

    def box(self, shape: Shape) -> Box:
        """Rows and columns outside of which the shape covers nothing."""
        (x, y), (cos, sin), count = shape.centre, (math.cos(self.angle), math.sin(self.angle)), self.colours.shape[1]
        # A field falls to minus half a sample's width where the shape, blown up from its centre, would end.
        half = shape.reach * (self.samples_per_unit + 0.5 / shape.inner)
        down = count * self.middle[1] + (sin * x + cos * y) * self.samples_per_unit
        across = count * self.middle[0] + (cos * x - sin * y) * self.samples_per_unit
        rows, columns = (slice(max(0, int(c - half - 1)), max(0, int(c + half + 1))) for c in (down, across))
        return rows, columns

    def coverage(self, shape: Shape, box: Box) -> Array:
        covered: Array = np.clip(shape.field(self.x[box], self.y[box]) * self.samples_per_unit + 0.5, 0, 1)
        return covered

    def paint(self, shape: Shape, colour: Colour) -> None:
        box = self.box(shape)
        covered = self.coverage(shape, box)
        for plane, value in zip(self.colours, colour, strict=True):
            inside = plane[box]
            inside += covered * (value - inside)

    def pixels(self) -> NDArray[np.uint8]:
        planes = np.clip(np.round(_shrunk(self.colours)), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _shrunk(samples: Array) -> Array:
    """The means of the samples of each pixel: (..., 3 S, 3 S) to (..., S, S)."""
    columns = functools.reduce(np.add, (samples[..., k::SUPERSAMPLING] for k in range(SUPERSAMPLING)))
    both = functools.reduce(np.add, (columns[..., k::SUPERSAMPLING, :] for k in range(SUPERSAMPLING)))
    return np.asarray(both / SUPERSAMPLING**2)


def _coat(critter: Critter) -> Array:
    style = critter.style
    place = (COAT_PLACES[critter.species] + COAT_SPREAD * (style.coat - 0.5)) % 1 * len(COATS)
    low = int(place) % len(COATS)
    here, there = np.array(COATS[low]), np.array(COATS[(low + 1) % len(COATS)])
    return np.asarray((here + (place - int(place)) * (there - here)) * (0.88 + 0.18 * style.light)).clip(0, 255)


def _darker(colour: Array) -> Array:
    return colour * DARK


def _background(style: Style) -> tuple[float, float, float]:
    value = 200 + 40 * style.value
    waves = (math.cos(2 * math.pi * (style.hue - shift)) for shift in (0, 1 / 3, 2 / 3))
    red, green, blue = (value * (0.92 + 0.08 * wave) for wave in waves)
    return red, green, blue


def _ellipse(cx: float, cy: float, a: float, b: float, degrees: float = 0.0) -> Shape:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def field(x: Array, y: Array) -> Array:
        u, v = cos * (x - cx) + sin * (y - cy), -sin * (x - cx) + cos * (y - cy)
        return np.asarray((1 - np.sqrt((u / a) ** 2 + (v / b) ** 2)) * min(a, b))

    return Shape(field, (cx, cy), min(a, b), max(a, b))


def _triangle(*corners: tuple[float, float]) -> Shape:
    def field(x: Array, y: Array) -> Array:
        edges = []
        for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
            length = math.hypot(bx - ax, by - ay)
            edges.append(((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length)
        nearest: Array = np.minimum.reduce(edges)
        return nearest

    opposite = [math.dist(corners[(k + 1) % 3], corners[(k + 2) % 3]) for k in range(3)]
    x, y = (sum(length * corner[axis] for length, corner in zip(opposite, corners, strict=True)) for axis in (0, 1))
    centre = x / sum(opposite), y / sum(opposite)
    inner = float(field(*np.array(centre)))
    return Shape(field, centre, inner, max(math.dist(corner, centre) for corner in corners))


def _within(shape: Shape, pattern: Field) -> Shape:
    """The part of the shape where the pattern is."""
    return shape._replace(field=lambda x, y: np.minimum(shape.field(x, y), pattern(x, y)))


def _mirrored(shape: Shape) -> tuple[Shape, Shape]:
    (x, y), field = shape.centre, shape.field
    return shape, shape._replace(field=lambda x, y: field(-x, y), centre=(-x, y))


_HEAD = _ellipse(0, 0, 1.0, 0.92)


def _wave(u: Array, period: float, phase: float) -> Array:
    """Positive on half of each period."""
    return np.asarray(np.sin(2 * math.pi * (u / period + phase)) * period / (2 * math.pi))


def _stripes(phase: float) -> Field:
    return lambda x, y: _wave(y + 0.12 * np.cos(3 * x), 0.6, phase)


def _bars(phase: float) -> Field:
    return lambda x, y: _wave(x, 0.6, phase)


def _spots(phase: float) -> Field:
    def field(x: Array, y: Array) -> Array:
        row = np.floor(y / 0.48)
        u = (x / 0.56 + phase + 0.5 * (row % 2)) % 1 - 0.5
        v = y / 0.48 - row - 0.5
        return np.asarray(0.205 - np.hypot(u * 0.56, v * 0.48))

    return field


def _checks(phase: float) -> Field:
    return lambda x, y: _wave(x, 0.9, phase) * np.sign(_wave(y, 0.9, 0.1)) * 1.0


def _half(phase: float) -> Field:
    angle = math.radians(60 * (phase - 0.5))
    return lambda x, y: np.asarray(x * math.cos(angle) + y * math.sin(angle))


def _lower(phase: float) -> Field:
    return lambda x, y: np.asarray(y - 0.1 + 0.3 * (phase - 0.5) + 0.16 * np.abs((4 * x) % 2 - 1))


def _patches(phase: float) -> Field:
    left, right = _mirrored(_ellipse(0.42, -0.12 + 0.1 * (phase - 0.5), 0.42, 0.56, 20))
    return lambda x, y: np.maximum(left.field(x, y), right.field(x, y))


def _rings(phase: float) -> Field:
    return lambda x, y: _wave(np.hypot(x, y), 0.5, phase)


def _diagonals(phase: float) -> Field:
    return lambda x, y: _wave((x + y) * math.sqrt(0.5), 0.56, phase)


def _cap(phase: float) -> Field:
    return lambda x, y: np.asarray(-y - 0.18 + 0.2 * (phase - 0.5) + 0.25 * np.abs(x))


_PATTERNS: tuple[Callable[[float], Field], ...] = (
    *(_stripes, _half, _spots, _checks, _bars),
    *(_lower, _patches, _rings, _diagonals, _cap),
)


def _ears(critter: Critter) -> list[tuple[Shape, Array]]:
    coat = _coat(critter)
    dark, inner = _darker(coat), (coat + np.array(PINK)) / 2
    pairs: dict[str, list[tuple[Shape, Array]]] = {
        "cat": [
            (_triangle((0.95, -1.42), (0.98, -0.1), (0.1, -0.75)), coat),
            (_triangle((0.83, -1.16), (0.84, -0.35), (0.32, -0.75)), inner),
        ],
        "rabbit": [(_ellipse(0.4, -0.95, 0.27, 0.62, 8), coat), (_ellipse(0.41, -0.95, 0.13, 0.44, 8), inner)],
        "bear": [(_ellipse(0.74, -0.68, 0.36, 0.36), coat), (_ellipse(0.74, -0.68, 0.19, 0.19), inner)],
        "dog": [(_ellipse(0.98, -0.02, 0.29, 0.68, -14), dark)],
        "mouse": [(_ellipse(0.78, -0.72, 0.46, 0.46), coat), (_ellipse(0.78, -0.72, 0.3, 0.3), inner)],
        "fox": [
            (_triangle((1.05, -1.28), (0.92, 0.0), (0.2, -0.8)), dark),
            (_triangle((0.98, -1.05), (0.82, -0.3), (0.45, -0.72)), inner),
        ],
        "panda": [(_ellipse(0.68, -0.72, 0.33, 0.33), dark)],
        "owl": [(_triangle((0.62, -1.38), (0.86, -0.4), (0.2, -0.82)), dark)],
        "frog": [(_ellipse(0.5, -0.78, 0.38, 0.38), coat)],
        "koala": [(_ellipse(0.98, -0.38, 0.42, 0.46), coat), (_ellipse(0.98, -0.38, 0.25, 0.29), inner)],
    }
    return [(half, colour) for shape, colour in pairs[SPECIES[critter.species]] for half in _mirrored(shape)]


def _face(critter: Critter, coat: Array) -> list[tuple[Shape, Colour]]:
    content = critter.content
    look = 0.115 * (content.gaze - 1)
    parts: list[tuple[Shape, Colour]] = []
    for side in (-1, 1):
        parts.append((_ellipse(0.36 * side, -0.16, 0.25, 0.27), WHITE))
        parts.append((_ellipse(0.36 * side + look, -0.15, 0.135, 0.16), BLACK))
        parts.append((_ellipse(0.36 * side + look + 0.04, -0.2, 0.045, 0.05), WHITE))
    parts += _MUZZLES[critter.species]
    if content.mouth:
        parts.append((_ellipse(0, 0.6, 0.3, 0.24), BLACK))
        parts.append((_ellipse(0, 0.71, 0.17, 0.1), PINK))
    else:
        parts.append((_ellipse(0, 0.58, 0.26, 0.04), BLACK))
    return parts


_SNOUT = (232, 218, 204)
_MUZZLES: tuple[list[tuple[Shape, Colour]], ...] = (
    [(_ellipse(0, 0.46, 0.38, 0.2), _SNOUT), (_triangle((-0.13, 0.26), (0.13, 0.26), (0.0, 0.42)), PINK)],
    [(_ellipse(0, 0.42, 0.26, 0.24), _SNOUT), (_ellipse(0, 0.28, 0.11, 0.08), PINK)],
    [(_ellipse(0, 0.46, 0.42, 0.36), _SNOUT), (_ellipse(0, 0.26, 0.2, 0.13), BLACK)],
    [(_ellipse(0, 0.5, 0.34, 0.4), _SNOUT), (_ellipse(0, 0.22, 0.24, 0.16), BLACK)],
    [(_triangle((-0.3, 0.18), (0.3, 0.18), (0.0, 0.66)), _SNOUT), (_ellipse(0, 0.3, 0.12, 0.12), PINK)],
    [(_triangle((-0.5, 0.2), (0.5, 0.2), (0.0, 0.85)), _SNOUT), (_ellipse(0, 0.34, 0.13, 0.1), BLACK)],
    [(_ellipse(0, 0.44, 0.34, 0.28), WHITE), (_ellipse(0, 0.28, 0.15, 0.09), BLACK)],
    [(_triangle((-0.16, 0.1), (0.16, 0.1), (0.0, 0.5)), (226, 170, 60))],
    [(_ellipse(-0.1, 0.26, 0.05, 0.05), BLACK), (_ellipse(0.1, 0.26, 0.05, 0.05), BLACK)],
    [(_ellipse(0, 0.22, 0.2, 0.32), BLACK)],
)
