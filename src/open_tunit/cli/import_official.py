"""`tunit import-official`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def import_official(
    file: Annotated[Path, tyro.conf.Positional],
    out: Path,
    size: int | None = None,
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Turn a checkpoint of the published implementation into a model folder.

    Args:
        file: The published checkpoint; only tensors and plain values in it are read.
        out: Model folder to write.
        size: Side of its images in pixels; read off the networks when not given.
        raw: Take the trained networks, not their running averages.
    """
    from open_tunit.interop.official import load_official

    model = load_official(file, size, averaged=not raw)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; name another folder")
    model.save_pretrained(out, card=_card(model.config.size, model.config.domains))
    print(f"model: {out}")


def _card(size: int, domains: int) -> str:
    return f"# {domains} domains at {size} px\n\nImported from a checkpoint of the published TUNIT implementation.\n"
