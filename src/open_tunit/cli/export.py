"""`tunit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from open_tunit.cli.models import USUAL


def export(out: Path, model: Path = USUAL, archive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> None:
    """Write a model as ONNX files, compared with PyTorch: guiding.onnx, generator.onnx, export.json.

    Args:
        out: New folder for the files.
        model: Model folder, such as RUN/model, a hub id, or a bundled one (critters, fruits).
        archive: Also write guiding.pt2 and generator.pt2 for torch.export.load.
    """
    from open_tunit.interop.onnx import TOLERANCE, export_onnx
    from open_tunit.model import TUNIT

    differences = export_onnx(TUNIT.from_pretrained(model), out, archive=archive)
    for name, difference in differences.items():
        print(f"{name:12} differs from PyTorch by at most {difference:.1e} (limit {TOLERANCE:g})")
    print(f"files in {out}")
