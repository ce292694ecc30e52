"""Pairs found in the folder: for each picture and domain the other picture of that domain that is drawn most alike.

No labels and no other data: what is alike is where lightness rises and falls, whatever the colours are. A departure
from the paper, which has no such pairs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.device import alike

SIDE = 32
"""Pixels of the lightness that is compared."""
BLOCK = 2048
"""Pictures on either side of one matrix product; all else that is held is the codes themselves."""
NONE = -1
"""In a table: the domain has no other picture."""
SMALLEST = 1e-6


class Described(NamedTuple):
    """N pictures as they are compared."""

    codes: Tensor
    """(N, SIDE^2) of unit length: their dot product is the likeness."""
    identity: Tensor
    """(N,) int64, the same for pictures of the same pixels."""


class Pairs(NamedTuple):
    """What `find_pairs` found."""

    table: Tensor
    """(N, K) int64: for picture i and domain k the most similar other picture of k, or NONE."""
    similarity: Tensor
    """(N, K) float32, -1 to 1: the cosine of their differences of lightness; -1 where there is none."""


def describe(parts: Iterable[Tensor]) -> Described:
    """Pictures, in parts (n, 3, S, S) in [-1, 1] with S a multiple of SIDE, as codes on their device."""
    codes, identity = [], []
    for x in parts:
        codes.append(lightness_codes(x))
        identity += [_digest(picture) for picture in x.cpu().numpy()]
    return Described(torch.cat(codes), torch.tensor(identity, device=codes[0].device))


def lightness_codes(x: Tensor) -> Tensor:
    """Codes (N, SIDE^2) of pictures (N, 3, S, S), whose dot products are those of signed differences of lightness.

    Lightness, the mean of the channels averaged down to SIDE x SIDE; its differences between neighbours in rows and
    columns, both of them together made unit length. Computed in the cosine basis, where a difference is a factor:
    half as many numbers for the same products. A flat picture gets zeros.
    """
    basis = alike(_cosines(), x)
    lightness = F.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), SIDE)[:, 0]
    slope = 2 - 2 * torch.cos(torch.arange(SIDE, dtype=torch.float64) * math.pi / SIDE)  # of wave u, squared
    weight = alike((slope[:, None] + slope[None, :]).sqrt(), x)
    waves = (basis @ lightness @ basis.T) * weight  # (N, SIDE, SIDE)
    length = waves.flatten(1).norm(dim=1, keepdim=True)
    return torch.where(length > SMALLEST, waves.flatten(1) / length.clamp(min=SMALLEST), 0.0)


@torch.no_grad()
def find_pairs(described: Described, domains: Tensor, count: int, *, block: int = BLOCK) -> Pairs:
    """The table of pairs of N pictures of `count` domains.

    domains (N,): 0 to count - 1, or -1 for pictures that are nobody's pair. A picture is not paired with itself, nor
    with a copy of it. Memory beside the codes: O(N K + block^2).
    """
    codes, identity = described
    table = torch.full((len(codes), count), NONE, dtype=torch.int64, device=codes.device)
    similarity = torch.full((len(codes), count), -1.0, dtype=torch.float32, device=codes.device)
    for domain in range(count):
        of_domain = torch.nonzero(domains == domain)[:, 0]
        for start in range(0, len(of_domain), block):
            members = of_domain[start : start + block]
            likely, same = codes[members], identity[members]
            for first in range(0, len(codes), block):
                rows = slice(first, first + block)
                alike = codes[rows] @ likely.T  # (rows, members)
                alike.masked_fill_(identity[rows][:, None] == same[None, :], -torch.inf)
                best, place = alike.max(dim=1)
                best = best.float()
                better = (best > similarity[rows, domain]) | ((table[rows, domain] == NONE) & best.isfinite())
                table[rows, domain] = torch.where(better, members[place], table[rows, domain])
                similarity[rows, domain] = torch.where(better, best.clamp(-1, 1), similarity[rows, domain])
    return Pairs(table, similarity)


def _cosines() -> Tensor:
    """The orthonormal DCT-II (SIDE, SIDE) in float64: wave u along a row of pixels."""
    pixels = torch.arange(SIDE, dtype=torch.float64) + 0.5
    basis = torch.cos(torch.arange(SIDE, dtype=torch.float64)[:, None] * pixels[None, :] * (math.pi / SIDE))
    basis = basis * math.sqrt(2 / SIDE)
    basis[0] /= math.sqrt(2)
    return basis


def _digest(picture: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(picture.tobytes(), digest_size=8).digest(), signed=True)


@dataclasses.dataclass(frozen=True)
class PairTable:
    """The pairs of a training set of N images, by their positions in the data set, on the host."""

    row_of: np.ndarray
    """Position in the data set -> row; other positions are -1."""
    domains: np.ndarray
    """(N,) int64: pseudo label, or label, of each row."""
    partners: np.ndarray
    """(N, K) int64: position in the data set of the pair in each domain, or NONE."""
    weights: np.ndarray
    """(N, K) float32, 0 to 1: how much a pair counts, by its similarity."""

    @classmethod
    def of(
        cls, pairs: Pairs, domains: Tensor, positions: np.ndarray, *, distrusted: float, trusted: float
    ) -> PairTable:
        """The table of images at these `positions` (N,) of the data set.

        A pair's weight rises from 0 at the similarity `distrusted` to 1 at `trusted`.
        """
        row_of = np.full(int(positions.max()) + 1, NONE, dtype=np.int64)
        row_of[positions] = np.arange(len(positions))
        table = pairs.table.cpu().numpy()
        weights = ((pairs.similarity - distrusted) / (trusted - distrusted)).clamp(0, 1).cpu().numpy()
        return cls(row_of, domains.cpu().numpy(), np.where(table == NONE, NONE, positions[table]), weights)

    @classmethod
    def random(cls, positions: np.ndarray, count: int) -> PairTable:
        """A table of as many images that pairs anything with anything: to time steps by, before E knows domains."""
        generator = np.random.default_rng(0)
        row_of = np.full(int(positions.max()) + 1, NONE, dtype=np.int64)
        row_of[positions] = np.arange(len(positions))
        shape = len(positions), count
        domains = generator.integers(0, count, len(positions))
        return cls(row_of, domains, generator.choice(positions, shape), np.ones(shape, dtype=np.float32))

    @property
    def confidence(self) -> float:
        """Mean weight of the pairs in other domains than the image's own, 0 to 1."""
        other = np.arange(self.weights.shape[1]) != self.domains[:, None]
        there = other & (self.partners != NONE)
        return float(self.weights[there].mean()) if there.any() else 0.0

    def look_up(self, positions: np.ndarray, domains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and weights (M,) of the pairs of images at `positions` (M,) in `domains` (M,).

        Where there is none: the image itself, with weight 0.
        """
        rows = self.row_of[positions]
        found, weights = self.partners[rows, domains], self.weights[rows, domains]
        return np.where(found == NONE, positions, found), np.where(found == NONE, 0, weights).astype(np.float32)
