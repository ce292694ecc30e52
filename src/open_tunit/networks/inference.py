"""E and G over any number of images, computed in parts that the memory holds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from open_tunit.networks.colour_transfer import with_colours_of
from open_tunit.networks.generator import Generator
from open_tunit.networks.guides import Guide
from open_tunit.networks.guiding import Guidance
from open_tunit.networks.ops.wide import square_weights
from open_tunit.networks.style_code import Strength, Strengths, walked
from open_tunit.parts import in_parts

FULL_SIZE_VALUES = {"cpu": 2**22, "cuda": 2**26}
"""Numbers that a network's first layer gives out for one part of a batch: on a CPU as many as its caches work best with
(docs/performance.md), on a GPU, where it was not measured, enough for 64 images of 128 px at width 64."""


def guidance(E: Guide, batches: Iterable[Tensor], *, width: int, half: bool) -> Guidance:
    """E's outputs for all images of the batches (N, 3, S, S), as one; `width` is that of E's first layer.

    With `half` its trunk computes in bfloat16, its heads in float32 all the same.
    """

    def guide(part: Tensor) -> Guidance:
        with _autocast(part, half):
            features = E.features(part)
        return E.read(*(value.to(part) for value in features))

    parts = itertools.chain.from_iterable(in_parts(guide, x, at_once=_at_once(width, x)) for x in batches)
    return Guidance(*(torch.cat(column) for column in zip(*parts, strict=True)))


def translations(G: Generator, x: Tensor, codes: Tensor, *, half: bool) -> Iterator[Tensor]:
    """M images (M, 3, H, W), each with its N style codes (M, N, D): the M * N translations, in parts.

    Each image is encoded once, with `half` in bfloat16. H and W are multiples of 2 for each of G's halvings. Where they
    differ, the statistics of instance norm are those of the squares with the most in them.
    """
    at_once = _at_once(G.encoder.stem.out_channels, x)

    def encode(part: Tensor) -> Tensor:
        with _autocast(part, half):
            return G.encode(part, square_weights(part))

    def decode(content: Tensor, weights: Tensor | None, rows: Tensor, styles: Tensor) -> Tensor:
        with _autocast(styles, half):
            return G.decode(content[rows], styles, None if weights is None else weights[rows]).to(styles)

    for some, theirs in zip(x.split(at_once), codes.split(at_once), strict=True):
        content = torch.cat(list(in_parts(encode, some, at_once=at_once)))
        rows = torch.arange(len(some), device=x.device).repeat_interleave(codes.shape[1])
        decode_some = functools.partial(decode, content, square_weights(some))
        yield from in_parts(decode_some, rows, theirs.flatten(0, 1), at_once=at_once)


def redrawn(
    G: Generator,
    x: Tensor,
    own: Tensor | None,
    codes: Tensor,
    strength: Strength,
    *,
    half: bool,
    counted: Tensor | None = None,
) -> Iterator[Tensor]:
    """`translations` at a strength; `own` are the images' own codes (M or 1, 1, D), or None where none are needed.

    Where colours have a strength of their own, a translation at that strength gives them to the one at the style's, by
    the pixels that are `counted` (M, 1, H, W; None: all). Then each of the parts is one translation.
    """
    if not isinstance(strength, Strengths):
        yield from translations(G, x, walked(own, codes, strength), half=half)
        return
    both = (singly(G, x, own, codes, each, half=half) for each in strength)
    for place, (drawn, other) in enumerate(zip(*both, strict=True)):
        image = place // codes.shape[1]
        yield with_colours_of(drawn, other, None if counted is None else counted[image : image + 1])


def singly(
    G: Generator, x: Tensor, own: Tensor | None, codes: Tensor, strength: float, *, half: bool
) -> Iterator[Tensor]:
    """The translations at a strength, one by one (1, 3, H, W); at 0 they are the images themselves."""
    if strength == 0:
        return (image for image in x.split(1) for _ in range(codes.shape[1]))
    parts = translations(G, x, walked(own, codes, strength), half=half)
    return itertools.chain.from_iterable(part.split(1) for part in parts)


def _autocast(x: Tensor, half: bool) -> torch.autocast:
    return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=half)


def _at_once(width: int, x: Tensor) -> int:
    """Images of a part of `x` (N, C, H, W) for a network whose first layer has `width` channels."""
    values = FULL_SIZE_VALUES["cpu" if x.is_cpu else "cuda"]
    return max(1, values // (width * x.shape[2] * x.shape[3]))
