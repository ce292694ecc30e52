"""E and G as ONNX files that translate without PyTorch, each compared with PyTorch before it is kept."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from open_tunit.files import write_text_atomic
from open_tunit.model import TUNIT

TOLERANCE = 1e-4
"""Most that ONNX Runtime may differ from PyTorch, as a share of the largest expected number (at least of 1)."""
BATCHES = (1, 2, 5)
"""Batch sizes that are compared; the graph is traced at another one."""
TRACED_BATCH = 3
GUIDING, GENERATOR, FACTS = "guiding.onnx", "generator.onnx", "export.json"


class ParityError(ArithmeticError):
    """The exported networks do not compute what PyTorch does; nothing was written."""


class Guide(nn.Module):
    """E with the outputs a user wants: domain probabilities (N, K), as named and merged, and style codes."""

    merging: Tensor

    def __init__(self, model: TUNIT) -> None:
        super().__init__()
        self.E = model.E
        self.register_buffer("merging", model.naming.merged(torch.eye(model.config.domains)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, S, S) in [-1, 1] -> probabilities (N, K) and style codes (N, style_dim)."""
        guidance = self.E(image)
        return guidance.logits.softmax(dim=1) @ self.merging, guidance.style


class Redraw(nn.Module):
    """G, with the names that the file's inputs get."""

    def __init__(self, model: TUNIT) -> None:
        super().__init__()
        self.G = model.G

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """Images (N, 3, S, S) and style codes (N, style_dim) -> translations (N, 3, S, S) in [-1, 1]."""
        translation: Tensor = self.G(image, style)
        return translation


@dataclasses.dataclass(frozen=True)
class _Part:
    """One network to be written."""

    file: str
    network: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_onnx(model: TUNIT, out: str | os.PathLike[str], *, archive: bool = False) -> dict[str, float]:
    """Write OUT/guiding.onnx, OUT/generator.onnx and OUT/export.json, any batch size; returns the differences.

    guiding: image (N, 3, S, S) in [-1, 1] -> domains (N, K), style (N, style_dim). generator: image, style ->
    translation. export.json holds shapes, the domains' typical styles and the differences from PyTorch. `archive` adds
    guiding.pt2 and generator.pt2, for torch.export.load. Raises ValueError when OUT holds anything, ParityError above
    TOLERANCE; either way nothing is written.
    """
    target = Path(out)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"{target} exists already and is not an empty folder; name another")
    model = copy.deepcopy(model).cpu().float().eval()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        differences: dict[str, float] = {}
        for part in _parts(model):
            _write(part, model, scratch, archive)
            found = _compare(part, model, scratch / part.file)
            _check(found)
            differences |= found
        write_text_atomic(scratch / FACTS, json.dumps(_facts(model, differences), indent=1) + "\n")
        if target.is_dir():
            target.rmdir()
        scratch.chmod(0o755)
        scratch.replace(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return differences


def _parts(model: TUNIT) -> tuple[_Part, _Part]:
    return (
        _Part(GUIDING, Guide(model).eval(), ("image",), ("domains", "style")),
        _Part(GENERATOR, Redraw(model).eval(), ("image", "style"), ("translation",)),
    )


def _inputs(part: _Part, model: TUNIT, count: int, seed: int) -> tuple[Tensor, ...]:
    """Noise images, and the style codes that E gives to other noise: the numbers that G sees in use."""
    noise = torch.Generator().manual_seed(seed)
    size = model.config.size
    image, other = (torch.rand(count, 3, size, size, generator=noise) * 2 - 1 for _ in range(2))
    return (image, model.style(other).clone()) if len(part.inputs) > 1 else (image,)


def _write(part: _Part, model: TUNIT, folder: Path, archive: bool) -> None:
    with _quiet():
        program = torch.onnx.export(
            part.network,
            _inputs(part, model, TRACED_BATCH, seed=0),
            dynamo=True,
            input_names=part.inputs,
            output_names=part.outputs,
            dynamic_shapes={name: {0: "batch"} for name in part.inputs},
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.save(folder / part.file)
        if archive:
            assert program.exported_program is not None
            torch.export.save(program.exported_program, (folder / part.file).with_suffix(".pt2"))


def _compare(part: _Part, model: TUNIT, file: Path) -> dict[str, float]:
    """Output name -> largest difference over all compared batches."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    worst = dict.fromkeys(part.outputs, 0.0)
    for count in BATCHES:
        inputs = _inputs(part, model, count, seed=count)
        with torch.inference_mode():
            wanted = part.network(*inputs)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        given = session.run(None, dict(zip(part.inputs, (x.numpy() for x in inputs), strict=True)))
        for name, ours, theirs in zip(part.outputs, wanted, given, strict=True):
            scale = max(1.0, float(ours.abs().max()))
            worst[name] = max(worst[name], float((ours - torch.from_numpy(theirs)).abs().max()) / scale)
    return worst


def _check(differences: dict[str, float]) -> None:
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ParityError(f"{name} differs from PyTorch by {difference:.1e}, above {TOLERANCE:g}; nothing written")


def _facts(model: TUNIT, differences: dict[str, float]) -> dict[str, Any]:
    return {
        "size": model.config.size,
        "domains": model.config.domains,
        "domain_names": model.naming.names,
        "style_dim": model.config.style_dim,
        "fit": model.fit,
        "background": model.background,
        "domain_counts": model.domain_counts.tolist(),
        "domain_styles": model.typical_styles.tolist(),
        "largest_difference": {**differences, "tolerance": TOLERANCE, "batches": list(BATCHES)},
        "versions": {name: version(name) for name in ("open-tunit", "torch", "onnx", "onnxscript", "onnxruntime")},
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on absent packages, its own deprecations and two inputs that share an axis."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
