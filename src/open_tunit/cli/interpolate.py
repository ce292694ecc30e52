"""`tunit interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from open_tunit.cli.models import USUAL, open_model


def interpolate(
    source: Path,
    out: Path,
    model: Path = USUAL,
    reference: tuple[Path, ...] = (),
    domain: tuple[str, ...] = (),
    frames: int = 8,
    fps: float = 12,
    loop: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
) -> None:
    """Translate sources to interpolated style codes, as a strip, a GIF or a film.

    Args:
        source: Picture, or folder of pictures: a strip has a row for each, a GIF or film shows them as a grid.
        out: FILE.png (a strip; also .jpg, .webp), FILE.gif or FILE.mp4 (also .mov).
        model: Model folder, such as RUN/model, a hub id, or a bundled one (critters, fruits).
        reference: Two or more pictures, or a folder of them: their style codes are interpolated in this order.
        domain: Instead of references: two or more domains' numbers or names, or all.
        frames: Steps from one reference to the next.
        fps: Frames per second of a GIF (up to 50) or film.
        loop: Go on from the last reference to the first one. A grid always does.
        overwrite: Replace FILE.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if bool(reference) == bool(domain):
        raise ValueError("interpolate needs --reference FILES (or a folder) or --domain K L ... (or all), and not both")
    from open_tunit.translation.interpolation import interpolate_files, is_moving

    done = interpolate_files(
        open_model(model, device),
        source,
        out,
        reference,
        domains=domain,
        frames=frames,
        fps=fps,
        loop=loop,
        overwrite=overwrite,
    )
    for line in dict.fromkeys(map(str, done.left_out)):
        print(f"warning: {line}")
    stops = done.count // frames if loop else (done.count - 1) // frames + 1
    print(f"{done.count} {'frames' if is_moving(out) else 'pictures'} along {stops} styles in {out}")
