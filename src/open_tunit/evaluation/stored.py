"""Features of real images, kept on disk: they are the same for every model that is measured on the same images."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from open_tunit import images
from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.features import FeatureNetwork
from open_tunit.files import write_atomic

CHUNK = 64


def pictures(dataset: Dataset, indices: NDArray[np.int64]) -> Tensor:
    """The images (N, 3, S, S) at `indices`, in [-1, 1]."""
    return images.from_uint8(torch.from_numpy(np.ascontiguousarray(dataset.images[indices])))


def chunks(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """`indices` in parts that are held in memory one at a time."""
    yield from (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))


def real_features(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64], cache_root: Path) -> Tensor:
    """Features (N, d) of real images: from the cache, else computed and kept there.

    The key is made of the network, its resizing rule and the pixels. A damaged entry is computed again, with a
    warning; a cache that cannot be written is not used.
    """
    if not network.cached:
        return _computed(network, dataset, indices)
    path = cache_root / "features" / f"{_key(network, dataset, indices)}.safetensors"
    features = _read(path, len(indices)) if path.exists() else None
    if features is None:
        features = _computed(network, dataset, indices)
        _keep(path, features)
    return features


def _computed(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64]) -> Tensor:
    return torch.cat([network(pictures(dataset, part)) for part in chunks(indices)])


def _key(network: FeatureNetwork, dataset: Dataset, indices: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(json.dumps([network.identity, network.rule, dataset.images.shape[1]]).encode())
    for part in chunks(indices):
        digest.update(np.ascontiguousarray(dataset.images[part]).tobytes())
    return digest.hexdigest()


def _read(path: Path, count: int) -> Tensor | None:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            features: Tensor = file.get_tensor("features")
            right = (file.metadata() or {}).get("sha256") == _digest(features) and len(features) == count
    except (OSError, safetensors.SafetensorError):
        right = False
    if not right:
        warnings.warn(f"{path} is damaged; computing these features again", stacklevel=2)
        return None
    return features


def _keep(path: Path, features: Tensor) -> None:
    def write(temporary: Path) -> None:
        safetensors.torch.save_file({"features": features}, temporary, {"sha256": _digest(features)})

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, write)
    except OSError as error:
        warnings.warn(f"features are not kept: {path.parent} cannot be written ({error.strerror})", stacklevel=2)


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()
