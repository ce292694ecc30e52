"""Tensors kept in the user's cache: written whole, read only with the hash that they were kept with."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from open_tunit.files import write_atomic

HASH = "sha256"


def read_kept(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """The tensors and the texts kept as `path`; None where there are none or, with a warning, where they are damaged.

    `what` they are is named in the warning.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        texts, tensors = {}, {}
    if not tensors or texts.pop(HASH, None) != _digest(tensors, texts):
        warnings.warn(f"{path} is damaged; making {what} again", stacklevel=3)
        return None
    return tensors, texts


def keep(path: Path, tensors: Mapping[str, Tensor], what: str, texts: Mapping[str, str] | None = None) -> None:
    """Keep tensors and texts as `path`. A cache that cannot be written is not used; a warning says so."""
    texts = dict(texts or {})
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    texts[HASH] = _digest(tensors, texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda temporary: safetensors.torch.save_file(tensors, temporary, texts))
    except OSError as error:
        warnings.warn(f"{what} are not kept: {path.parent} cannot be written ({error.strerror})", stacklevel=3)


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(texts.items())).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
