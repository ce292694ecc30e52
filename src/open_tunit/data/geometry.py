"""How views move: maps (N, 2, 3) from output to input coordinates, in [-1, 1], an image's parameters its own.

Two ways. *Published*: as torchvision's RandomAffine and RandomResizedCrop draw them: shear along x, whole pixels, crops
drawn until one fits. *Continuous*, a departure: shear along both axes, any fraction of a pixel, oversized crops cut to
the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Draws = dict[str, np.ndarray]
Zoom = tuple[float, float]

ROTATION_DEGREES = 20.0
TRANSLATION = 0.1
SHEAR_DEGREES = 10.0
CROP_RANGE = (0.9, 1.1)
ATTEMPTS = "crop_attempts"
CROP_ATTEMPTS = 10
"""Crops that torchvision draws before it takes the whole picture."""
DOMAIN_GAIN = 1.25
"""How much wider than x+ the domain view turns."""


class Moves(NamedTuple):
    """Which changes a view makes."""

    affine: bool
    crop: bool
    mirror: bool


def published(draws: Draws, moves: Moves, side: int) -> np.ndarray | None:
    """The maps of pictures of `side` pixels as published; None when nothing moves."""
    affine = _published_affine(draws, side) if moves.affine else None
    crop = _published_crop(draws, side) if moves.crop else None
    return _product([affine, crop, _mirror(draws) if moves.mirror else None])


def continuous(draws: Draws, moves: Moves, zoom: Zoom | None = None) -> np.ndarray | None:
    """The continuous maps; None when nothing moves. With `zoom`, sides of crops, they are the domain view's, wider."""
    affine = _affine(draws, wide=zoom is not None) if moves.affine else None
    crop = _crop(draws, zoom) if moves.crop else None
    return _product([affine, crop, _mirror(draws) if moves.mirror else None])


def spread(draws: np.ndarray, reach: float) -> np.ndarray:
    """Draws in [0, 1) as numbers in [-reach, reach)."""
    return (2 * draws - 1) * reach


def _product(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    total: np.ndarray | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total @ part
    return None if total is None else total[:, :2]


def _mirror(draws: Draws) -> np.ndarray:
    result = _unmoved(len(draws["flip_plus"]))
    result[:, 0, 0] = np.where(draws["flip_plus"] < 0.5, -1.0, 1.0)
    return result


def _unmoved(count: int) -> np.ndarray:
    return np.tile(np.eye(3), (count, 1, 1))


def _published_affine(draws: Draws, side: int) -> np.ndarray:
    """The inverse of: shear along x, turn, shift by whole pixels."""
    angle = spread(draws["angle"], math.radians(ROTATION_DEGREES))
    shear = np.tan(spread(draws["shear_x"], math.radians(SHEAR_DEGREES)))
    shift = np.stack([np.round(spread(draws[name], TRANSLATION * side)) for name in ("shift_x", "shift_y")], axis=1)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    linear = _matrices([[one, shear], [zero, one]]) @ _rotation(angle)
    result = _unmoved(len(angle))
    result[:, :2, :2] = linear
    result[:, :2, 2] = -(linear @ (shift * 2 / side)[:, :, None])[:, :, 0]
    return result


def _published_crop(draws: Draws, side: int) -> np.ndarray:
    """The first of the drawn crops that fits into the picture, or all of it."""
    low, high = CROP_RANGE
    area = low + (high - low) * draws[ATTEMPTS][:, :, 0]  # (N, CROP_ATTEMPTS)
    ratio = np.exp(math.log(low) + (math.log(high) - math.log(low)) * draws[ATTEMPTS][:, :, 1])
    sides = np.round(side * np.sqrt(np.stack([area * ratio, area / ratio])))  # (2, N, CROP_ATTEMPTS)
    fits = np.logical_and(*(sides <= side))  # (N, CROP_ATTEMPTS)
    first = sides[:, np.arange(len(fits)), fits.argmax(axis=1)]  # (2, N)
    chosen = np.where(np.logical_or.reduce(fits, axis=1), first, side)
    result = _unmoved(len(area))
    for axis, (length, name) in enumerate(zip(chosen, ("crop_x", "crop_y"), strict=True)):
        begin = np.floor(draws[name] * (side - length + 1))
        result[:, axis, axis] = length / side
        result[:, axis, 2] = (2 * begin + length) / side - 1
    return result


def _affine(draws: Draws, *, wide: bool) -> np.ndarray:
    angle = spread(draws["angle"], math.radians(ROTATION_DEGREES * (DOMAIN_GAIN if wide else 1)))
    shear_x = np.tan(spread(draws["shear_x"], math.radians(SHEAR_DEGREES)))
    shear_y = np.tan(spread(draws["shear_y"], math.radians(SHEAR_DEGREES)))
    one = np.ones_like(angle)
    result = _unmoved(len(angle))
    result[:, :2, :2] = _rotation(angle) @ _matrices([[one, shear_x], [shear_y, one]])
    result[:, 0, 2] = spread(draws["shift_x"], 2 * TRANSLATION)
    result[:, 1, 2] = spread(draws["shift_y"], 2 * TRANSLATION)
    return result


def _crop(draws: Draws, zoom: Zoom | None) -> np.ndarray:
    low, high = CROP_RANGE
    near, far = zoom or CROP_RANGE
    area = (near + (far - near) * draws["area"]) ** 2 if zoom else low + (high - low) * draws["area"]
    ratio = np.exp(np.log(low) + (np.log(high) - np.log(low)) * draws["ratio"])
    most = far if zoom else 1.0
    width = np.minimum(np.sqrt(area * ratio), most)
    height = np.minimum(np.sqrt(area / ratio), most)
    result = _unmoved(len(area))
    result[:, 0, 0], result[:, 1, 1] = width, height
    result[:, 0, 2] = spread(draws["crop_x"], 1.0) * (1 - width)
    result[:, 1, 2] = spread(draws["crop_y"], 1.0) * (1 - height)
    return result


def _rotation(angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return _matrices([[cos, -sin], [sin, cos]])


def _matrices(rows: list[list[np.ndarray]]) -> np.ndarray:
    """(N, 2, 2) of four columns (N,)."""
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)
