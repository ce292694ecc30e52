"""What training reads: decoded images with their parts and labels, from a folder or from the built-in set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from open_tunit.data import critters
from open_tunit.data.cache import Store, build_generated_store, build_store, root_of
from open_tunit.data.decoding import Progress
from open_tunit.data.inspection import Inspection
from open_tunit.data.labels import keep_fraction, read_labels
from open_tunit.data.shard_images import open_shards
from open_tunit.data.shards import is_shards
from open_tunit.data.split import PARTS, SMALLEST_TRAIN, split
from open_tunit.settings.config import Data, is_critters
from open_tunit.settings.conversion import ConfigError

CRITTERS_TRAIN = 4000
CRITTERS_VAL = 500
CRITTERS_TEST = 500
"""Critters of each part; their indices follow each other in this order."""
CRITTERS_SPECIES = 5
"""K where the folder is just `critters`."""
FINGERPRINT_VERSION = 2
"""Stored beside a fingerprint; version 1 was a set of contents, in which parts and order were not told apart."""
HASH_DIGITS = 16
"""Of each training image's SHA-256, as stored with a run."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """N square images of side S, readable ones only, sorted by path."""

    images: NDArray[np.uint8]
    """(N, S, S, 3); usually mapped from the cache, read-only; those of shards are decoded when read (ShardImages)."""
    files: tuple[str, ...]
    hashes: tuple[str, ...]
    """N hexadecimal SHA-256 of the files' contents (of the pixels, for critters)."""
    labels: NDArray[np.int64]
    """(N,) indices into `label_names`; -1 where unknown or, in the training part, withheld by `label_fraction`."""
    label_names: tuple[str, ...]
    split: NDArray[np.str_]
    """(N,) of train, val, test. In a very small folder val and test may be empty."""
    fingerprint: str
    """SHA-256 of the parts and content hashes in this order, the size and the fit."""
    labels_fingerprint: str | None
    """SHA-256 of the images' labels in this order, before any is withheld; None without labels."""
    fingerprint_v1: str
    """SHA-256 of the sorted content hashes, the size and the fit, which earlier versions stored."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and reason of each file left out."""
    inspections: tuple[Inspection | None, ...]
    """N, of what else is known of a folder's files; None of critters."""
    passed_over: tuple[tuple[str, str], ...]
    """Path and reason of what is no picture."""

    def indices(self, part: str) -> NDArray[np.int64]:
        """Positions of the images of a part, ascending. Raises ValueError for a name that is no part."""
        if part not in PARTS:
            raise ValueError(f"split is {part!r}; expected one of {', '.join(PARTS)}")
        return np.flatnonzero(self.split == part).astype(np.int64)


def fingerprints(dataset: Dataset) -> dict[str, Any]:
    """What a run and its model store, by which `same_images` and `same_labels` know the data set again."""
    return {
        "fingerprint": dataset.fingerprint,
        "fingerprint_version": FINGERPRINT_VERSION,
        "labels_fingerprint": dataset.labels_fingerprint,
    }


def same_images(stored: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether the stored `fingerprints`, of any version, are of these images."""
    own = dataset.fingerprint if "fingerprint_version" in stored else dataset.fingerprint_v1
    return bool(stored.get("fingerprint") == own)


def same_labels(stored: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether the stored `fingerprints` are of these labels; version 1 did not tell."""
    return bool(stored.get("labels_fingerprint", dataset.labels_fingerprint) == dataset.labels_fingerprint)


def training_hashes(dataset: Dataset) -> str:
    """The training images by content, as a run stores them: 16 hexadecimal digits each, sorted, between blanks.

    17 bytes an image: 1.7 MB for 100,000. Two different images share 64 bits with a chance of 1e-9 among 100,000.
    """
    return " ".join(sorted({dataset.hashes[index][:HASH_DIGITS] for index in dataset.indices("train")}))


def trained_on(known: str, dataset: Dataset, indices: NDArray[np.int64]) -> int:
    """How many of the images at `indices` are among the `training_hashes` that are known of a model."""
    hashes = set(known.split())
    return sum(dataset.hashes[index][:HASH_DIGITS] in hashes for index in indices)


def open_dataset(
    data: Data, *, size: int, seed: int, cache: str | None = None, progress: Progress | None = None
) -> Dataset:
    """The images that `data` names, as squares of side `size`.

    `seed` draws the critters and chooses the labels that `label_fraction` keeps. `cache` None is the default cache;
    `progress` gets the number of images decoded and the total. Raises ConfigError for a `critters:` that cannot be,
    what `build_store` and `read_labels` raise, and ValueError with fewer than two images to train on.
    """
    opened = _open_critters if is_critters(data.folder) else _open_shards if is_shards(data.folder) else _open_folder
    dataset = opened(data, size, seed, cache, progress)
    train = dataset.indices("train")
    if len(train) < SMALLEST_TRAIN:
        images = f"{len(train)} image{'' if len(train) == 1 else 's'}"
        role = "" if len(train) == len(dataset.files) else " to train on"
        others = (
            f"; {len(dataset.unreadable)} are left out: {' '.join(dataset.unreadable[0])}" if dataset.unreadable else ""
        )
        raise ValueError(f"{data.folder} has {images}{role}; at least {SMALLEST_TRAIN} are needed{others}")
    labels = dataset.labels.copy()
    labels[train] = keep_fraction(labels[train], data.label_fraction, seed)
    return dataclasses.replace(dataset, labels=labels)


def for_training(dataset: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """The data set with the labels that training images have, and the names of the others; as it is where none has one.

    The others have only images that cannot be read, or are in val or test. Raises ValueError where one label is left.
    """
    used = np.unique(dataset.labels[dataset.indices("train")])
    kept = [number for number in range(len(dataset.label_names)) if number in used]
    names = tuple(dataset.label_names[number] for number in kept)
    empty = tuple(name for name in dataset.label_names if name not in names)
    if not empty or not kept:
        return dataset, ()
    if len(kept) == 1:
        raise ValueError(
            f"labels: only {names[0]} has training images that can be read, {', '.join(empty)} has none; "
            "at least 2 labels are needed"
        )
    labels = np.full_like(dataset.labels, -1)
    for number, former in enumerate(kept):
        labels[dataset.labels == former] = number
    return dataclasses.replace(dataset, labels=labels, label_names=names), empty


def parse_critters(spec: str) -> tuple[int, tuple[float, ...] | None]:
    """K and the K shares (sum 1; None = equal) of `critters`, `critters:K` or `critters:K:60/20/10/5/5`.

    Raises ConfigError for anything else, for K outside 2 to the number of species, and for shares not above 0.
    """
    count, colon, shares = spec.partition(":")[2].partition(":")
    most = len(critters.SPECIES)
    species = int(count) if count.isdecimal() else CRITTERS_SPECIES if spec == "critters" else 0
    if not 2 <= species <= most:
        raise ConfigError(f"data is {spec!r}; expected critters:K with K from 2 to {most}, as in critters:5")
    if not colon:
        return species, None
    try:
        weights = [float(share) for share in shares.split("/")]
    except ValueError:
        weights = []
    if len(weights) != species or not all(0 < weight < float("inf") for weight in weights):
        raise ConfigError(f"data is {spec!r}; expected {species} shares above 0, as in critters:3:60/30/10")
    return species, tuple(weight / sum(weights) for weight in weights)


def _open_folder(data: Data, size: int, seed: int, cache: str | None, progress: Progress | None) -> Dataset:
    root = Path(data.folder).expanduser()
    store = build_store(root, size, data.fit, data.background, cache, progress)
    left_out = [file for file, _ in store.unreadable]
    labels, names = read_labels(data.labels, root, store.files, left_out)
    return _dataset(store, data, size, labels, names, split(store.files, store.hashes))


def _open_shards(data: Data, size: int, seed: int, cache: str | None, progress: Progress | None) -> Dataset:
    images, unreadable = open_shards(data.folder, size, data.fit, data.background, root_of(cache))
    files, hashes = zip(*((sample.file, sample.digest) for sample in images.samples), strict=True)
    store = Store(cast(Any, images), files, hashes, tuple(unreadable), (None,) * len(files))
    left_out = [file for file, _ in unreadable]
    labels, names = read_labels(data.labels, Path(data.folder), files, left_out)
    return _dataset(store, data, size, labels, names, split(files, hashes))


def _dataset(
    store: Store,
    data: Data,
    size: int,
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    parts: NDArray[np.str_],
) -> Dataset:
    known = [names[label] if label >= 0 else None for label in labels]
    return Dataset(
        images=store.images,
        files=store.files,
        hashes=store.hashes,
        labels=labels,
        label_names=names,
        split=parts,
        fingerprint=_digest([list(zip(parts.tolist(), store.hashes, strict=True)), size, data.fit]),
        labels_fingerprint=_digest(known) if data.labels else None,
        fingerprint_v1=_digest([sorted(store.hashes), size, data.fit]),
        unreadable=store.unreadable,
        inspections=store.inspections,
        passed_over=store.passed_over,
    )


def _open_critters(data: Data, size: int, seed: int, cache: str | None, progress: Progress | None) -> Dataset:
    species, shares = parse_critters(data.folder)
    if data.labels not in (None, "folders"):
        raise ConfigError(f"labels is {data.labels!r}; the built-in set has its own: expected none, or folders")
    parts = {"train": CRITTERS_TRAIN, "val": CRITTERS_VAL, "test": CRITTERS_TEST}
    count = sum(parts.values())

    def render(index: int) -> NDArray[np.uint8]:
        return critters.draw(critters.critter(seed, index, species=species, shares=shares), size)

    key = f"critters {json.dumps([species, shares, seed, critters.DRAWING])}"
    store = build_generated_store(key, count, size, render, cache, progress)
    labels = np.full(count, -1, dtype=np.int64)
    if data.labels:
        labels[:] = [critters.critter(seed, index, species=species, shares=shares).species for index in range(count)]
    names = tuple(critters.SPECIES[:species]) if data.labels else ()
    return _dataset(store, data, size, labels, names, np.repeat(np.array(list(parts)), list(parts.values())))


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
