"""Which kind of coat pattern a translated critter wears: the one that its lightness correlates with best.

A classifier of species looks at ears and muzzles and does not notice a coat that keeps the source's pattern.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.critters import Content, Critter, coat_mask, pattern_mask

PHASES = 12
"""Shifts of each pattern that are tried, evenly over a period."""
SHOWN = 0.9
"""Share of a pixel that the coat covers where the pixel is compared."""
NONE = -1
Array = NDArray[np.float64]


def worn_patterns(pictures: Tensor, answers: Sequence[Critter], species: int) -> NDArray[np.int64]:
    """(N,) species whose pattern each picture's coat wears, of the first `species`; NONE for a coat without any.

    `pictures` (N, 3, S, S) are translations whose true answers are `answers`. Compared is the coat that the answer
    shows: the picture's lightness there with each species' pattern at the answer's content, at PHASES phases. Patterns
    are dark, so the species with the largest negative correlation wins.
    """
    light = pictures.mean(dim=1).double().numpy()  # (N, S, S)
    found = np.full(len(light), NONE)
    for members in _of_one_place(answers):
        patterns = _patterns(answers[members[0]], species, light.shape[-1])  # (K, PHASES, S, S)
        for index in members:
            shown = coat_mask(answers[index], light.shape[-1]) > SHOWN
            likeness = -_correlations(patterns[:, :, shown], light[index][shown]).min(axis=1)  # (K,)
            if likeness.max() > 0:
                found[index] = likeness.argmax()
    return found


def _of_one_place(critters: Sequence[Critter]) -> Iterator[list[int]]:
    """Positions of the critters whose heads are alike in position, size and tilt: their patterns are drawn once."""
    groups: dict[Content, list[int]] = {}
    for index, critter in enumerate(critters):
        groups.setdefault(dataclasses.replace(critter.content, gaze=0, mouth=0), []).append(index)
    yield from groups.values()


def _patterns(critter: Critter, species: int, size: int) -> Array:
    """(K, PHASES, S, S): every species' pattern on this critter's head."""
    styles = [dataclasses.replace(critter.style, phase=phase / PHASES) for phase in range(PHASES)]
    kinds = [[dataclasses.replace(critter, species=k, style=style) for style in styles] for k in range(species)]
    return np.array([[pattern_mask(one, size) for one in row] for row in kinds], dtype=np.float64)


def _correlations(patterns: Array, light: Array) -> Array:
    """(K, PHASES) correlations of patterns (K, PHASES, M) with light (M,); 0 where either is flat."""
    if not light.size:
        return np.zeros(patterns.shape[:2])
    light, patterns = light - light.mean(), patterns - patterns.mean(axis=-1, keepdims=True)
    norms = np.sqrt((patterns**2).sum(axis=-1) * (light**2).sum())
    return np.asarray((patterns * light).sum(axis=-1) / np.maximum(norms, 1e-9))
