"""`tunit interpolate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from open_tunit.cli.models import USUAL, open_model

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from open_tunit.media.images import UnreadableImage
    from open_tunit.model import TUNIT


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
        model: Model folder, such as RUN/model, a hub id, or a bundled checkpoint (critters).
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
    if not fps > 0:
        raise ValueError(f"--fps is {fps}; it must be above 0")
    from open_tunit.media.images import is_picture, save_image
    from open_tunit.media.video import WRITTEN, ffmpeg
    from open_tunit.translation.folders import readable_files
    from open_tunit.translation.interpolation import path, strip
    from open_tunit.translation.results import named_files, refuse_taken

    film = out.suffix.lower() in WRITTEN
    moving = film or out.suffix.lower() == ".gif"
    if not moving and not is_picture(out):
        raise ValueError(f"{out} ends in {out.suffix!r}; expected .png, .jpg or .webp (a strip), .gif or .mp4")
    refuse_taken([out], overwrite)
    if film:
        ffmpeg()
    network = open_model(model, device)
    failed: list[UnreadableImage] = []
    sources = readable_files((file for _, file in named_files(source, left_out=failed.append)), left_out=failed.append)
    if not sources:
        raise failed[-1]
    stops = _stops(reference, domain, network, failed)
    codes = path(stops, frames, loop=loop)
    out.parent.mkdir(parents=True, exist_ok=True)
    if moving:
        _save_moving(_moving(network, sources, stops, codes, frames), out, fps)
    else:
        save_image(strip(network, sources, codes), out)
    for line in dict.fromkeys(map(str, failed)):
        print(f"warning: {line}")
    print(f"{len(codes)} {'frames' if moving else 'pictures'} along {len(stops)} styles in {out}")


def _stops(
    reference: tuple[Path, ...], domain: tuple[str, ...], network: TUNIT, failed: list[UnreadableImage]
) -> Tensor:
    """The style codes (P, style_dim) of the references or domains; appends to `failed` what could not be read."""
    import torch

    from open_tunit.translation.folders import styles_of, styles_of_domains
    from open_tunit.translation.results import named_files

    if domain:
        return torch.cat([code for _, code in styles_of_domains(network, domain)])
    files = [file for place in reference for _, file in named_files(place, left_out=failed.append)]
    codes = styles_of(network, dict.fromkeys(files), left_out=failed.append)
    if not codes:
        raise failed[-1]
    return torch.cat([codes[file] for file in files if file in codes])


def _moving(network: TUNIT, sources: list[Path], stops: Tensor, codes: Tensor, frames: int) -> Iterator[Image]:
    from open_tunit.translation.interpolation import moving_grid, moving_picture

    if len(sources) == 1:
        return moving_picture(network, sources[0], codes)
    return moving_grid(network, sources, stops, frames)


def _save_moving(pictures: Iterator[Image], out: Path, fps: float) -> None:
    from open_tunit.media.images import save_animation
    from open_tunit.media.video import is_film, with_even_sides, write_film

    if is_film(out):
        write_film(out, map(with_even_sides, pictures), fps)
    else:
        save_animation(pictures, out, fps)
