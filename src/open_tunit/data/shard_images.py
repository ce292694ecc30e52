"""The pictures of shards as an array whose squares are decoded when they are asked for: for more than disks hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from open_tunit.data.shards import Index, Sample, read_indices, read_sample
from open_tunit.media import images
from open_tunit.media.encoded import Encoded

WORKERS = 8
"""Pictures that are read and decoded at the same time; Pillow releases the interpreter's lock."""


class ShardImages:
    """`images[positions]` gives what an array (N, S, S, 3) uint8 of all of them would.

    In place of a sample that cannot be decoded stands the next one that can, which is a function of the shards alone;
    `damaged` has its name and the reason. Raises OSError where a shard cannot be read, ValueError where no sample can.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shards: Sequence[str], indices: Sequence[Index], size: int, fit: str, background: str) -> None:
        self.shards, self.size, self.fit, self.background = list(shards), size, fit, background
        counts = [len(index.samples) for index in indices]
        self.samples = [sample for index in indices for sample in index.samples]
        self.shard_of = np.repeat(np.arange(len(counts)), counts)
        self.damaged: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(WORKERS)
        self._expected: dict[int, Future[NDArray[np.uint8]]] = {}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, S, S, 3)."""
        return len(self), self.size, self.size, 3

    @property
    def nbytes(self) -> int:
        """Of all squares, were they decoded."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """N."""
        return len(self.samples)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """The squares at an integer, a slice or an array of positions."""
        positions = np.arange(len(self))[key]
        if positions.ndim == 0:
            return self._squares([int(positions)])[0]
        return np.stack(self._squares(positions.tolist())) if len(positions) else np.empty((0, *self.shape[1:]), "u1")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.uint8]:
        """All squares."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def expect(self, positions: Iterable[int]) -> None:
        """Begin to decode what will be asked for next."""
        waiting = {position: self._expected.pop(position, None) for position in map(int, positions)}
        for future in self._expected.values():
            future.cancel()
        self._expected = {place: future or self._pool.submit(self._square, place) for place, future in waiting.items()}

    def _squares(self, positions: list[int]) -> list[NDArray[np.uint8]]:
        waiting = [self._expected.get(place) or self._pool.submit(self._square, place) for place in positions]
        return [future.result() for future in waiting]

    def _square(self, position: int) -> NDArray[np.uint8]:
        for turn in range(len(self)):
            place = (position + turn) % len(self)
            try:
                return self._decoded(self.shards[self.shard_of[place]], self.samples[place])
            except images.UnreadableImage as error:
                self.damaged[self.samples[place].file] = error.reason
        raise ValueError(f"no sample of {self.shards[0]} and {len(self.shards) - 1} more shards can be decoded")

    def _decoded(self, shard: str, sample: Sample) -> NDArray[np.uint8]:
        encoded = Encoded(read_sample(shard, sample), f"{shard}: {sample.file}")
        picture = images.read_image(encoded, background=self.background, at_least=self.size)
        return np.asarray(images.fit(picture, self.size, self.fit, self.background))


def open_shards(
    pattern: str, size: int, fit: str, background: str, cache_root: Path
) -> tuple[ShardImages, list[tuple[str, str]]]:
    """The images of the shards that `pattern` names, and what is unreadable in them, with the reason.

    Raises what `read_indices` does, and ValueError where there is no picture.
    """
    shards, indices = zip(*read_indices(pattern, cache_root), strict=True)
    if not any(index.samples for index in indices):
        raise ValueError(f"{pattern} has no picture")
    return ShardImages(shards, indices, size, fit, background), [row for index in indices for row in index.unreadable]
