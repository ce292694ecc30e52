"""What the page can do: its answers as plain pictures and sentences, independent of the page."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from open_tunit.data.scan import scan
from open_tunit.media import images
from open_tunit.media.pictures import one_aspect, to_redraw
from open_tunit.model import TUNIT
from open_tunit.networks.style_code import Colours, strengths
from open_tunit.translation.interpolation import path
from open_tunit.web.uploads import check_upload, check_uploads

MAX_SIDE = 6
"""Most sources, and most references, of a grid."""
MAX_SORTED = 100
SAMPLES = 8
"""Sampled styles that are shown at once."""
MAX_EXAMPLES = 24
CANVAS = 256
TILE, TILE_EXAMPLES = 180, 3
"""Side of a domain's picture in the gallery, and how many of its examples stand below it."""


class Sample(NamedTuple):
    """The `number`-th of the style codes that the seed draws from a domain."""

    domain: int
    seed: int
    number: int


class Studio:
    """A model and its example pictures. Files are checked before they are decoded; errors are ValueErrors."""

    def __init__(self, model: TUNIT, examples: Path | None = None) -> None:
        self.model = model
        self.examples = _examples(examples) if examples is not None and examples.is_dir() else []
        self.example_domains = self._likeliest(self.examples) if self.examples else []
        self.filled = [k for k in range(model.config.domains) if model.domain_counts[k]]
        self.can_sample = model.domain_spreads is not None and bool(self.filled)

    def translate(
        self,
        source: str | None,
        reference: str | None,
        domain: int | None = None,
        strength: float = 1.0,
        colours: Colours | None = None,
        whole: bool = False,
        mask: Image.Image | None = None,
        sample: Sample | None = None,
    ) -> Image.Image:
        """The source redrawn after the reference, in the typical style of `domain`, or in a sampled one.

        `strength`, `colours`, `whole` and `mask` as in `TUNIT.translate`. A mask that was painted over another source,
        of another aspect, is left out.
        """
        if source is None:
            raise ValueError("There is no source. Please drop a picture.")
        if reference is None and domain is None and sample is None:
            raise ValueError("There is no reference. Please drop a picture, or choose a domain.")
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is {strength}; expected 0 to 1")
        code = self._code(reference, domain, sample)
        file = check_upload(source)
        if mask is not None and not one_aspect(mask.size, images.read_image(file).size):
            mask = None
        redrawn = to_redraw([file], whole=whole, mask=mask)
        drawn: Image.Image = self.model.redraw(redrawn, code, strength=strengths(strength, colours))[0]
        return drawn

    def canvas(self, source: str) -> Image.Image:
        """A copy of the source to paint a mask over, its longer side CANVAS pixels."""
        copy = images.read_image(check_upload(source), at_least=CANVAS)
        return ImageOps.contain(copy, (CANVAS, CANVAS))

    def sample_gallery(self, source: str | None, domain: int | None, seed: int) -> list[tuple[Image.Image, str]]:
        """The source redrawn in SAMPLES styles of a domain, and a caption for each; nothing where either is missing."""
        if source is None or domain is None or domain not in self.filled:
            return []
        codes = self.model.sample_styles(domain, SAMPLES, seed=seed)
        drawn = self.model.redraw(self.model.squares(check_upload(source)), codes)
        return [(_tile(image), f"{self.label(domain)}, {number + 1}") for number, image in enumerate(drawn)]

    def domain_of(self, file: str | None) -> int | None:
        """The likeliest domain of an upload."""
        return None if file is None else self._likeliest([check_upload(file)])[0]

    def label(self, domain: int) -> str:
        """What the visitor reads of a domain: its name, or its number."""
        name = self.model.naming.names[domain]
        return f"domain {name}" if name.isdecimal() else name

    def opening(self) -> tuple[Path | None, Path | None]:
        """The source and the reference to begin with: two examples, of two domains where there are."""
        if not self.examples:
            return None, None
        other = next((i for i, k in enumerate(self.example_domains) if k != self.example_domains[0]), -1)
        return self.examples[0], self.examples[other]

    def sort(self, files: Sequence[str]) -> list[tuple[Path, int, float]]:
        """Each picture with its likeliest domain and that domain's probability, in the domains' order."""
        if len(files) > MAX_SORTED:
            raise ValueError(f"These are {len(files)} pictures; the page sorts {MAX_SORTED} at a time.")
        checked = check_uploads(files)
        sure, domains = self.model.domains(checked).cpu().max(dim=1)
        rows = zip(checked, domains.tolist(), sure.tolist(), strict=True)
        return sorted(rows, key=lambda row: (row[1], -row[2]))

    def domain_gallery(self, source: str | None) -> list[tuple[Image.Image, str]]:
        """A picture and a caption for each domain that has images: the source redrawn in it, examples below."""
        if source is None or not self.filled:
            return []
        square = self.model.squares(check_upload(source))
        drawn = self.model.redraw(square, self.model.typical_styles[self.filled])
        return [(self._domain_tile(k, image), self.label(k)) for k, image in zip(self.filled, drawn, strict=True)]

    def grid(self, sources: Sequence[str], references: Sequence[str]) -> Image.Image:
        """Sources down the left, references along the top, every translation."""
        if not sources or not references:
            raise ValueError("A grid needs at least one source and one reference.")
        if max(len(sources), len(references)) > MAX_SIDE:
            raise ValueError(f"A grid takes up to {MAX_SIDE} sources and {MAX_SIDE} references.")
        checked = check_uploads([*sources, *references])
        left = self.model.squares(checked[: len(sources)])
        top = self.model.squares(checked[len(sources) :])
        body = self.model.grid(left, top)  # (M, N, 3, S, S)
        head = torch.cat([torch.ones_like(top[:1]), top])[None]
        return images.grid(torch.cat([head, torch.cat([left[:, None], body], dim=1)]))

    def between(self, source: str, references: tuple[str, str], position: float, steps: int) -> list[Image.Image]:
        """The source at `position` (0 to 1) of the way from one reference to the other; then the whole way, a strip."""
        file = check_upload(source)
        stops = self.model.style([check_upload(reference) for reference in references])
        start, end = stops.split(1)
        here: Image.Image = self.model.redraw(file, torch.lerp(start, end, position))[0]
        way = self.model.redraw(self.model.squares(file), path(stops, steps - 1))
        return [here, images.grid(way[None])]

    def _code(self, reference: str | None, domain: int | None, sample: Sample | None) -> Tensor:
        if sample is not None:
            if not 0 <= sample.number < SAMPLES:
                raise ValueError(f"There are {SAMPLES} sampled styles at a time.")
            return self.model.sample_styles(sample.domain, sample.number + 1, seed=sample.seed)[-1:]
        if domain is None and reference is not None:
            return self.model.target_styles(check_upload(reference), None)
        return self.model.target_styles(None, domain)

    def _likeliest(self, files: Sequence[Path]) -> list[int]:
        likeliest: list[int] = self.model.domains(files).argmax(dim=1).tolist()
        return likeliest

    def _domain_tile(self, domain: int, mean: Tensor) -> Image.Image:
        big = _tile(mean)
        if not self.examples:
            return big
        side = TILE // TILE_EXAMPLES
        tile = Image.new("RGBA", (TILE, TILE + side))
        tile.paste(big, (0, 0))
        members = [file for file, k in zip(self.examples, self.example_domains, strict=True) if k == domain]
        for place, file in enumerate(members[:TILE_EXAMPLES]):
            tile.paste(images.fit(images.read_image(file), side, "crop"), (place * side, TILE))
        return tile


def _tile(image: Tensor) -> Image.Image:
    return images.to_pil(image).resize((TILE, TILE), Image.Resampling.LANCZOS)


def _examples(folder: Path) -> list[Path]:
    """The first pictures of the folder, 2.png before 10.png; a warning names those that cannot be shown."""
    try:
        names = sorted(scan(folder), key=lambda name: (len(name), name))
    except ValueError:  # it holds none
        return []
    found: list[Path] = []
    for name in names:
        if len(found) == MAX_EXAMPLES:
            break
        try:
            file = check_upload(folder / name)
            images.read_image(file)
        except (ValueError, OSError) as error:
            warnings.warn(f"example {name} is left out: {error}", stacklevel=2)
        else:
            found.append(file)
    return found
