"""The batch of a step: a pure function of (seed, retry, step), whatever came before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from open_tunit.data import views
from open_tunit.data.geometry import Draws
from open_tunit.data.pairs import PairTable
from open_tunit.data.shard_images import ShardImages
from open_tunit.data.transfer import to_device
from open_tunit.media import images
from open_tunit.rng import Stream, rng

RESIDENT_SHARE = 0.3


def all_rows(count: int) -> slice:
    """The part of a batch of `count` images that a process reads where it is the only one: all of it."""
    return slice(None)


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a training step reads: of B images the N that are this process's; all where it is the only one."""

    x: Tensor
    """(N, 3, S, S) in [-1, 1]: the plain view."""
    x_plus: Tensor
    """(N, 3, S, S): the augmented view of the same images."""
    x_domain: Tensor
    """(N, 3, S, S): what the domain objective compares with x: x_plus itself (the paper), or the
    disguised view, moved, recoloured and with a patch hidden."""
    x_content: Tensor
    """(N, 3, S, S): x as G's content encoder sees it; x itself, as in the paper, or x in other colours."""
    translation_numbers: views.Numbers
    """Of the views in which E and, in the cycle, G's content encoder see the translations."""
    labels: Tensor
    """(B,) int64; -1 = unlabelled."""
    unlabelled: Tensor
    """(<= B,) int64: the places of the unlabelled images, found on the host, so that no step waits for the GPU."""
    permutation: Tensor
    """(N,) int64: the place among the B images of each one's reference, in whose domain and style it is redrawn."""
    pairs: PairTargets | None = None
    """Each image's pair in its reference's domain, of weight 0 where that is its own; None without pairs."""
    styles: Tensor | None = None
    """(B, style_dim): the images' style codes, where a frozen E gave them once."""
    domains: Tensor | None = None
    """(B,) int64: the images' labels or pseudo labels, where a frozen E gave these once."""
    others: Tensor | None = None
    """(N, 3, S, S): the plain view of the references, where some may be another process's; None where N = B."""

    @property
    def references(self) -> Tensor:
        """(N, 3, S, S): the plain view of the references."""
        return self.x[self.permutation] if self.others is None else self.others


@dataclasses.dataclass(frozen=True)
class ImageCodes:
    """What a frozen E gives for every training image, whatever the view: computed once."""

    row_of: np.ndarray
    """Position in the data set -> row."""
    styles: Tensor
    """(N, style_dim) on the device."""
    domains: np.ndarray
    """(N,) int64: labels, or pseudo labels where there are none."""

    @classmethod
    def of(cls, positions: np.ndarray, styles: Tensor, domains: np.ndarray) -> ImageCodes:
        """The codes of the images at these `positions` (N,) of the data set."""
        row_of = np.full(int(positions.max()) + 1, -1, dtype=np.int64)
        row_of[positions] = np.arange(len(positions))
        return cls(row_of, styles, domains)

    def on(self, device: torch.device) -> ImageCodes:
        """The codes with the styles on this device."""
        return dataclasses.replace(self, styles=self.styles.to(device))


@dataclasses.dataclass(frozen=True)
class PairTargets:
    """Other pictures of the folder that nearly are the answer (pairs.py): M targets for images of a batch."""

    places: Tensor
    """(M,) int64: the place in the batch of each target's source."""
    pictures: Tensor
    """(M, 3, S, S) in [-1, 1]"""
    weights: Tensor
    """(M,) 0 to 1, by similarity."""
    styles: Tensor | None = None
    """(M, style_dim) the pictures' style codes, where a frozen E gave them once."""


@dataclasses.dataclass(frozen=True)
class PairBatch:
    """What a step of the pair phase reads."""

    x_content: Tensor
    """(N, 3, S, S): the sources as G's content encoder sees them."""
    targets: PairTargets


class Batches:
    """`batch(step)` for the images (M, S, S, 3) uint8 and labels (M,) of a training split.

    Every image comes once per epoch; the last, incomplete batch of an epoch is filled from the next. Of a batch of
    `size` images this process reads the `rows(size)`; all processes draw the same batch.
    """

    def __init__(
        self,
        pixels: np.ndarray | ShardImages,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        view: views.Views,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        rows: Callable[[int], slice] = all_rows,
    ) -> None:
        self.labels, self.indices, self.rows = labels, indices, rows
        self.labelled = indices[labels[indices] >= 0]
        self.seed, self.view = seed, view
        self.device, self.dtype = device, dtype
        self.pixels = _resident(pixels, device)
        self._epochs: dict[tuple[int, bool, int], np.ndarray] = {}
        self.retry = 0
        """How often training went back: other draws each time."""
        self.pairs: PairTable | None = None
        """Set once E's domains are frozen, by training."""
        self.codes: ImageCodes | None = None
        """Set by training where E is fitted, not trained: batches then have no views for E."""

    def batch(self, step: int, size: int, *, labelled_only: bool = False) -> Batch:
        """The batch of `step`, of `size` images; `labelled_only` draws from the labelled ones alone."""
        chosen, rows = self._chosen(step, size, labelled_only), self.rows(size)
        generator = self._generator(Stream.BATCH_VIEWS, step)
        draws = views.draw(generator, size)
        permutation = generator.permutation(size)
        own_draws, domain_draws, content_draws, translation_draws = (
            _part(drawn, rows) for drawn in (draws, *(views.draw(generator, size) for _ in range(3)))
        )
        permuted = permutation[rows]
        labels = self.labels[chosen]
        plain = self.pictures(chosen[rows])
        self._expect(step + 1, size, labelled_only)
        x = views.plain_view(plain, own_draws, self.view)
        fitted = self.codes is not None
        x_plus = x if fitted else views.augmented_view(plain, own_draws, self.view)
        disguised = self.view.domain_colour and not fitted
        return Batch(
            x=x,
            x_plus=x_plus,
            x_domain=views.domain_view(plain, domain_draws, self.view) if disguised else x_plus,
            x_content=self._content(x, content_draws),
            translation_numbers=views.numbers(x, translation_draws, self.view),
            labels=to_device(labels, self.device),
            unlabelled=to_device(np.flatnonzero(labels < 0), self.device),
            permutation=to_device(permuted, self.device),
            pairs=self._pairs_of_references(chosen, permuted, rows, draws),
            styles=self._styles(chosen),
            domains=self._domains(chosen),
            others=self._others(chosen, permuted, draws),
        )

    def _expect(self, step: int, size: int, labelled_only: bool) -> None:
        """Let shards read on while this step is computed."""
        if isinstance(self.pixels, ShardImages):
            self.pixels.expect(self._chosen(step, size, labelled_only)[self.rows(size)])

    def _others(self, chosen: np.ndarray, permuted: np.ndarray, draws: Draws) -> Tensor | None:
        """The plain view of the images at places `permuted` of the batch; None where this process has all of it."""
        if len(permuted) == len(chosen):
            return None
        return views.plain_view(self.pictures(chosen[permuted]), _part(draws, permuted), self.view)

    def _styles(self, chosen: np.ndarray) -> Tensor | None:
        codes = self.codes
        return None if codes is None else codes.styles[to_device(codes.row_of[chosen], codes.styles.device)]

    def _domains(self, chosen: np.ndarray) -> Tensor | None:
        codes = self.codes
        return None if codes is None else to_device(codes.domains[codes.row_of[chosen]], self.device)

    def pair_batch(self, step: int, size: int, per_source: int) -> PairBatch:
        """Sources of `step`, and for each of them its pairs in `per_source` different random domains."""
        assert self.pairs is not None
        chosen, rows = self._chosen(step, size, labelled_only=False), self.rows(size)
        generator = self._generator(Stream.PAIRS, step)
        draws = views.draw(generator, size)
        domains = generator.random((size, self.pairs.partners.shape[1])).argsort(axis=1)[rows, :per_source]
        chosen, draws = chosen[rows], _part(draws, rows)
        x = views.plain_view(self.pictures(chosen), draws, self.view)
        self._expect(step + 1, size, labelled_only=False)
        targets = self._targets(np.repeat(np.arange(len(chosen)), domains.shape[1]), domains.ravel(), chosen, draws)
        return PairBatch(self._content(x, draws), targets)

    def _pairs_of_references(
        self, chosen: np.ndarray, permuted: np.ndarray, rows: slice, draws: Draws
    ) -> PairTargets | None:
        if self.pairs is None:
            return None
        domains = self.pairs.domains[self.pairs.row_of[chosen]]
        wanted, own = domains[permuted], chosen[rows]
        places = np.arange(len(own))
        return self._targets(places, wanted, own, _part(draws, rows), counted=wanted != domains[rows])

    def _targets(
        self,
        places: np.ndarray,
        domains: np.ndarray,
        chosen: np.ndarray,
        draws: Draws,
        counted: np.ndarray | float = 1.0,
    ) -> PairTargets:
        """The pairs of the images at `places` of a batch, mirrored where their sources are; 0 weight if not counted."""
        assert self.pairs is not None
        partners, weights = self.pairs.look_up(chosen[places], domains)
        weights = weights * counted
        mirrored = {"flip": draws["flip"][places]}
        pictures = views.plain_view(self.pictures(partners), mirrored, self.view)
        return PairTargets(
            places=to_device(places, self.device),
            pictures=pictures,
            weights=to_device(weights, self.device, self.dtype),
            styles=self._styles(partners),
        )

    def _content(self, x: Tensor, draws: Draws) -> Tensor:
        return views.content_view(x, views.numbers(x, draws, self.view)) if self.view.content_colour else x

    def pictures(self, chosen: np.ndarray) -> Tensor:
        """The images at these positions as they are, (N, 3, S, S) in [-1, 1], on the device."""
        return images.from_uint8(self._gather(chosen)).to(self.dtype)

    def in_parts(self, chosen: np.ndarray, size: int) -> Iterator[Tensor]:
        """The images at these positions, in parts of about `size`."""
        for part in np.array_split(chosen, -(-len(chosen) // size)):
            yield self.pictures(part)

    def _gather(self, chosen: np.ndarray) -> Tensor:
        if isinstance(self.pixels, Tensor):
            return self.pixels[to_device(chosen, self.device)]
        return to_device(np.ascontiguousarray(self.pixels[chosen]), self.device)

    def _chosen(self, step: int, size: int, labelled_only: bool) -> np.ndarray:
        pool = self.labelled if labelled_only else self.indices
        first = step * size
        spots = [divmod(position, len(pool)) for position in range(first, first + size)]
        return np.array([self._epoch(epoch, labelled_only)[place] for epoch, place in spots])

    def _epoch(self, epoch: int, labelled_only: bool) -> np.ndarray:
        key = epoch, labelled_only, self.retry
        if key not in self._epochs:
            pool = self.labelled if labelled_only else self.indices
            if len(self._epochs) > 2:
                self._epochs.clear()
            self._epochs[key] = self._generator(Stream.EPOCH_ORDER, epoch).permutation(pool)
        return self._epochs[key]

    def _generator(self, stream: Stream, position: int) -> np.random.Generator:
        return rng(self.seed, stream, position, *([self.retry] if self.retry else []))


def _part(draws: Draws, rows: slice | np.ndarray) -> Draws:
    return {name: values[rows] for name, values in draws.items()}


def _resident(pixels: np.ndarray | ShardImages, device: torch.device) -> np.ndarray | ShardImages | Tensor:
    """On a GPU with room to spare, the images themselves; else the array as it is (a memory map is read lazily)."""
    return torch.from_numpy(np.array(pixels)).to(device) if _has_room(device, pixels.nbytes) else pixels


def _has_room(device: torch.device, count: int) -> bool:
    return device.type == "cuda" and count <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
