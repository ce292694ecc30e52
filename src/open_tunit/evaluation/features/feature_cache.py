"""Features of real images, kept on disk: they are the same for every model that is measured on the same images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data.cache import forget_pages
from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features.extractors import FeatureNetwork
from open_tunit.evaluation.tensor_cache import keep, read_kept
from open_tunit.media import images

CHUNK = 64
WHAT = "features of real images"


def pictures(dataset: Dataset, indices: NDArray[np.int64]) -> Tensor:
    """The images (N, 3, S, S) at `indices`, in [-1, 1]."""
    pixels = np.ascontiguousarray(dataset.images[indices])
    forget_pages(dataset.images)
    return images.from_uint8(torch.from_numpy(pixels))


def chunks(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """`indices` in parts that are held in memory one at a time."""
    yield from (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))


def real_features(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64], cache_root: Path) -> Tensor:
    """Features (N, d) of real images: from the cache, else computed and kept there.

    The key is made of the network, its resizing rule and the pixels. A damaged entry is computed again, with a
    warning; a cache that cannot be written is not used.
    """
    if network.own:
        return _computed(network, dataset, indices)
    path = cache_root / "features" / f"{_key(network, dataset, indices)}.safetensors"
    kept = read_kept(path, WHAT)
    if kept is not None:
        return kept[0]["features"]
    features = _computed(network, dataset, indices)
    keep(path, {"features": features}, WHAT)
    return features


def _computed(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64]) -> Tensor:
    first, *others = chunks(np.arange(len(indices)))
    rows = network(pictures(dataset, indices[first]))
    features = rows.new_empty(len(indices), rows.shape[1])
    features[: len(first)] = rows
    for part in others:
        features[torch.as_tensor(part)] = network(pictures(dataset, indices[part]))
    return features


def _key(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(json.dumps([network.identity, network.rule, dataset.images.shape[1]]).encode())
    for part in chunks(indices):
        digest.update(np.ascontiguousarray(dataset.images[part]).tobytes())
        forget_pages(dataset.images)
    return digest.hexdigest()
