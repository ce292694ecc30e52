"""Distances between two sets of features: Fréchet and kernel. Their names depend on the feature network."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from open_tunit.device import in_float64

BLOCK = 128
"""Rows of a kernel matrix held at once."""


class TooFewError(ValueError):
    """A metric was given fewer rows than it needs; the message has how many."""


def check_count(metric: str, rows: int, needed: int, what: str = "images") -> None:
    """Raise TooFewError unless there are as many rows as the metric needs."""
    if rows < needed:
        counted = re.sub(r"s\b", "", what, count=1) if rows == 1 else what
        raise TooFewError(f"{metric}: {rows} {counted}; it needs at least {needed}")


class Moments:
    """Mean and covariance (divided by count - 1) of features that come in parts, in float64.

    Holds the rows while they are no more than the dimensions, their d x d scatter from then on: memory is bounded by
    d squared numbers however many rows come.
    """

    def __init__(self, features: Tensor | None = None) -> None:
        self.count = 0
        self._shift = self._sum = torch.empty(0)
        self._rows: list[Tensor] = []
        self._scatter: Tensor | None = None
        if features is not None:
            self.add(features)

    def add(self, features: Tensor) -> None:
        """Take in more rows (N, d). Raises ValueError for another number of dimensions."""
        rows = in_float64(features)
        if rows.ndim != 2 or (self.count and rows.shape[1] != len(self._shift)):
            raise ValueError(f"features are {tuple(features.shape)}; expected (N, d), d the same in every part")
        if not self.count:
            self._shift = rows[:1].mean(dim=0)
            self._sum = torch.zeros_like(self._shift)
        shifted = rows - self._shift  # sums of squares about a point within the data lose no digits
        self.count += len(rows)
        self._sum += shifted.sum(dim=0)
        if self._scatter is None:
            self._rows.append(shifted)
            if self.count > len(self._shift):
                self._scatter = sum((part.T @ part for part in self._rows), torch.zeros(()).to(rows))
                self._rows = []
        else:
            self._scatter += shifted.T @ shifted

    @property
    def mean(self) -> Tensor:
        """(d,)"""
        return self._shift + self._sum / self.count

    def variance(self) -> float:
        """The trace of the covariance."""
        rows = self.rows()
        return float(self.covariance().trace() if rows is None else rows.square().sum())

    def rows(self) -> Tensor | None:
        """A (count, d) with A.T @ A the covariance, where that is smaller than the covariance, else None."""
        if self._scatter is not None:
            return None
        return (torch.cat(self._rows) - self._sum / self.count) / math.sqrt(self.count - 1)

    def covariance(self) -> Tensor:
        """(d, d)"""
        rows = self.rows()
        if rows is not None:
            return rows.T @ rows
        assert self._scatter is not None
        return (self._scatter - torch.outer(self._sum, self._sum) / self.count) / (self.count - 1)


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """The squared Fréchet distance of the Gaussians with the moments of two feature sets (N, d) and (M, d).

    |mean difference|² + tr(A) + tr(B) - 2 tr((A B)^1/2) (Dowson and Landau 1982); on Inception-v3 pool features it is
    the FID (Heusel et al. 2017). In float64. Raises TooFewError for fewer than 2 rows.
    """
    first, second = (part if isinstance(part, Moments) else Moments(part) for part in (a, b))
    for part in (first, second):
        check_count("Fréchet distance", part.count, 2)
    difference = float((first.mean - second.mean).square().sum())
    return difference + first.variance() + second.variance() - 2 * _trace_of_root(first, second)


def _trace_of_root(a: Moments, b: Moments) -> float:
    """tr((A B)^1/2), the sum of the roots of the eigenvalues of A B, by symmetric problems of the smallest size."""
    rows_a, rows_b = a.rows(), b.rows()
    if rows_a is not None and rows_b is not None:
        return float(torch.linalg.svdvals(rows_a @ rows_b.T).sum())  # (N, M): its nuclear norm
    if rows_a is None and rows_b is None:
        factor, covariance = _factor(a.covariance()), b.covariance()
    elif rows_a is not None:
        factor, covariance = rows_a, b.covariance()
    else:
        assert rows_b is not None
        factor, covariance = rows_b, a.covariance()
    return float(torch.linalg.eigvalsh(factor @ covariance @ factor.T).clamp(min=0).sqrt().sum())


def _factor(covariance: Tensor) -> Tensor:
    """F with F.T @ F = covariance: Cholesky's, or where that is singular the eigenvectors'."""
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        transposed: Tensor = lower.T
        return transposed
    values, vectors = torch.linalg.eigh(covariance)
    scaled: Tensor = values.clamp(min=0).sqrt()[:, None] * vectors.T
    return scaled


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and spread (standard deviation) over random subsets of the squared MMD of features (N, d) and (M, d).

    The unbiased estimate with the kernel (x·y / d + 1)³; on Inception-v3 pool features it is the KID (Binkowski et
    al. 2018). Subsets have min(subset_size, N, M) rows; where that is all rows there is no spread. Raises TooFewError
    for fewer than 2 rows.
    """
    size = min(subset_size, len(a), len(b))
    check_count("kernel distance", size, 2)
    generator = torch.Generator().manual_seed(seed)
    in_a, in_b = (_members(len(part), size, subsets, generator) for part in (a, b))
    x, y = in_float64(a), in_float64(b)
    in_a, in_b = in_a.to(x), in_b.to(y)
    within = _kernel_sums(x, x, in_a, in_a, same=True) + _kernel_sums(y, y, in_b, in_b, same=True)
    values = within / (size * (size - 1)) - 2 * _kernel_sums(x, y, in_a, in_b, same=False) / size**2
    return float(values.mean()), float(values.std(correction=0))


def _members(count: int, size: int, subsets: int, generator: torch.Generator) -> Tensor:
    """(subsets, count): 1 where a row belongs to a subset."""
    chosen = torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(subsets)])
    return torch.zeros(subsets, count).scatter_(1, chosen, 1.0)


def _kernel_sums(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, *, same: bool) -> Tensor:
    """(subsets,): the kernel summed over the pairs of each subset, without a row and itself where x is y."""
    sums = torch.zeros(len(in_x)).to(x)
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        kernel = (x[block] @ y.T / x.shape[1] + 1) ** 3  # (block, M)
        if same:
            kernel.diagonal(start).zero_()
        sums += (in_x[:, block] @ kernel * in_y).sum(dim=1)
    return sums
