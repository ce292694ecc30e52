"""How sources are redrawn, beside the style: how strongly, how much of each picture, and under which masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from open_tunit.media.pictures import ALPHA, Mask, Source, read_mask
from open_tunit.media.video import is_film
from open_tunit.networks.style_code import Strength
from open_tunit.translation.results import named_files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manner:
    """How each of several sources is redrawn."""

    strength: Strength = 1.0
    whole: bool = False
    masks: Mapping[Path, Mask] = dataclasses.field(default_factory=dict)
    """Of those sources that have one."""

    def source(self, file: Path) -> Source:
        """The picture of a file, to be redrawn in this manner."""
        return Source(file, self.whole, self.masks.get(file))

    def frame(self, film: Path, picture: Image.Image) -> Source:
        """A frame of a film, to be redrawn in this manner."""
        return Source(picture, self.whole, self.masks.get(film))


PLAIN = Manner()


def masks_for(names: Mapping[Path, str], place: Mask | None) -> Mapping[Path, Mask]:
    """The mask of each source, given their `names` as by `named_files`.

    `place` is a picture for all of them, a folder that has each mask under its source's name (the suffix may be
    another), `alpha` for their own alpha channels, or None. Raises ValueError for a source without a mask and for films
    with `alpha`, FileNotFoundError, UnreadableImage.
    """
    if place is None:
        return {}
    if place == ALPHA:
        film = next(filter(is_film, names), None)
        if film is not None:
            raise ValueError(f"{film} is a film, which has no alpha channel; name a mask FILE or FOLDER")
        return dict.fromkeys(names, ALPHA)
    if isinstance(place, Image.Image) or not Path(place).is_dir():
        return dict.fromkeys(names, read_mask(place))
    found = _by_name(Path(place))
    masks = {file: mask for file, name in names.items() if (mask := _of(file, name, found)) is not None}
    missing = [file for file in names if file not in masks]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{place} has no mask for {missing[0]}{more}; a mask has its source's name, such as a.png")
    return masks


def _by_name(folder: Path) -> dict[str, Path]:
    """The folder's pictures, by their paths in it with and without suffix."""
    full = {path.relative_to(folder).as_posix(): path for _, path in named_files(folder)}
    short = {Path(name).with_suffix("").as_posix(): path for name, path in full.items()}
    return short | full


def _of(source: Path, name: str, masks: Mapping[str, Path]) -> Path | None:
    short = name.removesuffix(source.suffix)
    return masks.get(short + source.suffix) or masks.get(short)
