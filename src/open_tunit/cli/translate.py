"""`tunit translate`."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import tyro

from open_tunit.cli.models import BUNDLED, open_model
from open_tunit.config import Precision

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from open_tunit.model import TUNIT

FRAMES_AT_ONCE = 8
ALIKE = 0.75
"""How like a file's suffix (0 to 1) one is that nobody means for a folder: .pngg, .jpgg."""


def translate(
    source: Path,
    out: Path,
    model: Path = BUNDLED,
    reference: Path | None = None,
    domain: str | None = None,
    strength: float = 1.0,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    device: str = "auto",
    precision: Precision = "float32",
) -> None:
    """Redraw source pictures in the domain and style of references.

    Args:
        source: Picture or MP4 film, or folder of them.
        out: Folder for the results; SOURCE--REFERENCE.png (films: .mp4) each, folders as in the source's. Or the file's
            own name, .png, .jpg, ... (films: .mp4), where there is one result.
        model: Model folder, such as RUN/model, a hub id, or critters, which comes along.
        reference: Picture, or folder of pictures: each source is redrawn after each reference.
        domain: Instead of a reference: a domain's number or name, or all.
        strength: 0 keeps the source's own style, 1 takes the reference's.
        overwrite: Replace pictures that are there already.
        device: auto, cpu, cuda, cuda:1, ...
        precision: bfloat16 is faster where the hardware multiplies in it (auto: only there), and off by a grey level.
    """
    if (reference is None) == (domain is None):
        raise ValueError("translate needs --reference FILE_OR_FOLDER or --domain K (or all), and not both")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}; expected 0 (the source's own style) to 1 (the reference's)")
    import torch

    from open_tunit.cli.pictures import named_files, refuse_taken
    from open_tunit.video import FILMS, ffmpeg, is_film

    network = open_model(model, device, precision)
    sources = named_files(source, FILMS)
    if any(is_film(path) for _, path in sources):
        ffmpeg()
    left_out: list[ValueError] = []
    styles = _domain_styles(network, domain or "") if reference is None else _styles(network, reference, left_out)
    labels, codes = list(styles), torch.cat(list(styles.values()))
    results = Results(out, {path: name for name, path in sources}, labels)
    results.check()
    refuse_taken((results.of(path, k) for _, path in sources for k in range(len(labels))), overwrite)
    unread = _redraw_pictures(network, results, codes, strength) + _redraw_films(network, results, codes, strength)
    if len(unread) == len(sources):
        raise unread[-1]
    for error in dict.fromkeys(str(error) for error in left_out + unread):
        print(f"left out: {error}")
    count = (len(sources) - len(unread)) * len(labels)
    print(f"{count} translation{'s' * (count != 1)} {'as' if results.is_file else 'in'} {out}")


class Results(NamedTuple):
    """Where translations go."""

    out: Path
    names: dict[Path, str]
    """Of the sources."""
    labels: list[str]
    """Of the references or domains."""

    @property
    def is_file(self) -> bool:
        """Whether `out` is the name of the one result, not of a folder."""
        from open_tunit.images import is_picture
        from open_tunit.video import is_film

        return not self.out.is_dir() and (is_picture(self.out) or is_film(self.out))

    def check(self) -> None:
        """Raise ValueError where `out` names a file, and the results are several or of a kind that it cannot hold."""
        from open_tunit.images import FORMATS
        from open_tunit.video import FILMS, is_film

        count = len(self.names) * len(self.labels)
        if not self.is_file:
            if not self.out.is_dir() and _like_a_file(self.out.suffix):
                written = ", ".join((*FORMATS, *FILMS))
                raise ValueError(f"{self.out} ends in {self.out.suffix!r}; name a folder, or a {written} file")
            return
        if count > 1:
            raise ValueError(f"{self.out} is a file's name, but there are {count} translations; name a folder")
        if is_film(self.out) != is_film(next(iter(self.names))):
            raise ValueError(f"{self.out} is of another kind than the source; films become .mp4, pictures never")

    def of(self, source: Path, position: int) -> Path:
        """The file of a source redrawn after the reference or domain at `position`."""
        from open_tunit.video import is_film

        if self.is_file:
            return self.out
        return self.out / f"{self.names[source]}--{self.labels[position]}{'.mp4' if is_film(source) else '.png'}"


def _styles(network: TUNIT, reference: Path, left_out: list[ValueError]) -> dict[str, Tensor]:
    """Label -> style code of each reference; appends to `left_out` what could not be read."""
    from open_tunit.cli.pictures import named_files
    from open_tunit.folders import styles_of

    names = {path: name.replace("/", "-") for name, path in named_files(reference)}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"two references of {reference} would both be called {twice[0]}; rename one")
    styles = styles_of(network, names, left_out=left_out.append)
    if not styles:
        raise left_out[-1]
    return {names[path]: code for path, code in styles.items()}


def _domain_styles(network: TUNIT, domain: str) -> dict[str, Tensor]:
    """Label -> mean style of the domain, or of all."""
    from open_tunit.cli.pictures import domain_codes

    found = dict(domain_codes((domain,), network))
    empty = len(set(network.naming.heads)) - len(found)
    if domain == "all" and empty:
        print(f"left out {empty} domain{'s' * (empty != 1)} without images, and so without a mean style")
    return found


def _like_a_file(suffix: str) -> bool:
    """Whether a suffix is nearly one of pictures or films, or one that is only read."""
    from open_tunit.data.scan import SUFFIXES
    from open_tunit.video import FILMS

    return bool(difflib.get_close_matches(suffix.lower(), SUFFIXES + FILMS, n=1, cutoff=ALIKE))


def _redraw_pictures(network: TUNIT, results: Results, codes: Tensor, strength: float) -> list[ValueError]:
    """Write the pictures' translations; returns what could not be read."""
    from open_tunit.folders import ahead, redraw_files
    from open_tunit.images import save_image
    from open_tunit.video import is_film

    def save(translation: tuple[Path, int, Image]) -> None:
        source, position, image = translation
        target = results.of(source, position)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_image(image, target)

    left_out: list[ValueError] = []
    pictures = itertools.filterfalse(is_film, results.names)
    drawn = redraw_files(network, pictures, codes, strength=strength, left_out=left_out.append)
    for _ in ahead(save, drawn):
        pass
    return left_out


def _redraw_films(network: TUNIT, results: Results, codes: Tensor, strength: float) -> list[ValueError]:
    """Write the films' translations; returns what could not be read."""
    from open_tunit.video import UnreadableFilm, is_film

    left_out: list[ValueError] = []
    for path in filter(is_film, results.names):
        try:
            for position, code in enumerate(codes.split(1)):
                _redraw_film(network, path, results.of(path, position), code, strength)
        except UnreadableFilm as error:
            left_out.append(error)
    return left_out


def _redraw_film(network: TUNIT, source: Path, target: Path, code: Tensor, strength: float) -> None:
    from open_tunit.video import read_film, write_film

    with read_film(source) as (rate, frames):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_film(target, _redrawn(network, frames, code, strength), rate, sound_of=source)


def _redrawn(network: TUNIT, frames: Iterator[Image], code: Tensor, strength: float) -> Iterator[Image]:
    while part := list(itertools.islice(frames, FRAMES_AT_ONCE)):
        yield from network.redraw(part, code, strength=strength)
