"""Random views of a batch, on its device, with every image's parameters drawn for itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit.data import geometry
from open_tunit.data.geometry import Draws, Zoom, spread
from open_tunit.data.transfer import to_device
from open_tunit.settings.config import ViewSettings
from open_tunit.settings.recipes import Recipe

BRIGHTNESS = CONTRAST = SATURATION = 0.4
HUE_TURNS = 0.125
DOMAIN_ZOOM = (0.65, 1.1)
CHOOSING_ZOOM = (0.5, 1.1)
HIDDEN = (0.2, 0.4)
"""Sides of the patch that is greyed out, as a share of the image's."""

DRAWS = (
    *("flip", "flip_plus", "angle", "shift_x", "shift_y", "shear_x", "shear_y"),
    *("area", "ratio", "crop_x", "crop_y", "brightness", "contrast", "saturation", "hue"),
    *("patch_x", "patch_y", "patch_width", "patch_height"),
)
COLOUR_REACH = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE_TURNS}
DOMAIN_REACH = {"brightness": 0.4, "contrast": 0.4, "saturation": 1.0, "hue": 0.5}
"""Any hue, and down to grey: smaller changes leave colours recoverable, and they become domains."""
LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """The views of a run: the user's switches, and the recipe's. The defaults are the paper's."""

    flip: bool = True
    affine: bool = True
    crop: bool = True
    colour: bool = True
    domain_colour: bool = False
    content_colour: bool = False
    translation_view: bool = False
    geometry: Literal["published", "continuous"] = "published"
    outside: Literal["black", "reflect"] = "black"

    @classmethod
    def of(cls, settings: ViewSettings, recipe: Recipe) -> Views:
        """The views that a run's settings and its recipe ask for."""
        return cls(
            **dataclasses.asdict(settings) | {"domain_colour": settings.domain_colour and recipe.domain_colour},
            content_colour=recipe.content_colour,
            translation_view=recipe.translation_view,
            geometry=recipe.geometry,
            outside=recipe.outside,
        )


Change = Callable[[Tensor, Draws, Views], Tensor]


class Numbers(NamedTuple):
    """What the views of a translation compute with, on its device: within a step nothing is copied there."""

    geometry: Tensor | None
    """(N, 2, 3) as x+ moves; None where nothing does."""
    colours: Tensor
    """(N, 4): brightness, contrast, saturation, hue."""


def draw(generator: np.random.Generator, count: int) -> Draws:
    """Uniform numbers in [0, 1) of each kind per image; row i depends on the generator and i alone.

    One number of a kind, but (CROP_ATTEMPTS, 2) for the published crops, from a generator of their own.
    """
    rows = generator.random((count, len(DRAWS)))
    (own,) = generator.spawn(1)
    attempts = own.random((count, geometry.CROP_ATTEMPTS, 2))
    return {name: rows[:, column] for column, name in enumerate(DRAWS)} | {geometry.ATTEMPTS: attempts}


def in_views(
    parts: Iterable[Tensor], changes: Sequence[Change], generator: np.random.Generator, views: Views
) -> Iterator[list[Tensor]]:
    """Of each part of the images (n, 3, H, W): the part itself, and each of the V `changes` of it."""
    for x in parts:
        yield [x, *(change(x, draw(generator, len(x)), views) for change in changes)]


def plain_view(images: Tensor, draws: Draws, views: Views) -> Tensor:
    """x: the image, or its mirror image; (N, 3, H, W)."""
    return _mirrored(images, draws["flip"]) if views.flip else images


def augmented_view(images: Tensor, draws: Draws, views: Views) -> Tensor:
    """x+: affine, crop, colour jitter and flip of images (N, 3, H, W) in [-1, 1], as `views` switches them.

    Departures from the paper: affine, crop and flip are one bilinear resampling, not two (sharper, cheaper), and the
    four colour changes come in a fixed order (docs/paper.md).
    """
    images = _moved(images, draws, views, None)
    return _recoloured(images, _beside(images, _colours(draws, COLOUR_REACH))) if views.colour else images


def domain_view(images: Tensor, draws: Draws, views: Views) -> Tensor:
    """What the domain objective compares with x: the augmented view (the paper's), or the disguised one."""
    return disguised_view(images, draws, views) if views.domain_colour else augmented_view(images, draws, views)


def disguised_view(images: Tensor, draws: Draws, views: Views) -> Tensor:
    """The augmented view, mirrored or not, in any colours and with a patch in middle grey.

    A departure from the paper, which has one augmented view for domain and style: where colour is style, a view that
    keeps it lets the domains be colours, and what a single place of the picture shows (random erasing, Zhong et al.
    2020) becomes a domain too (docs/log.md, "A recoloured view").
    """
    return _disguised(images, draws, views, DOMAIN_ZOOM)


def choosing_view(images: Tensor, draws: Draws, views: Views) -> Tensor:
    """The domain view, zoomed further: by these views the domains are chosen."""
    return _disguised(images, draws, views, CHOOSING_ZOOM)


def numbers(images: Tensor, draws: Draws, views: Views) -> Numbers:
    """The numbers of `draws` for `content_view` and `translation_view` of images like these."""
    maps = _maps(images, draws, views, None)
    colours = _beside(images, _colours(draws, DOMAIN_REACH))
    return Numbers(None if maps is None else _beside(images, maps), colours)


def content_view(images: Tensor, numbers: Numbers) -> Tensor:
    """Images in other colours, where they are: what G's content encoder sees."""
    return _recoloured(images, numbers.colours)


def translation_view(images: Tensor, numbers: Numbers, views: Views) -> Tensor:
    """Translations as E sees them: moved, turned and cropped as x+ is, their colours kept; differentiable."""
    return images if numbers.geometry is None else _resampled(images, numbers.geometry, views.outside)


def _disguised(images: Tensor, draws: Draws, views: Views, zoom: Zoom) -> Tensor:
    colours = _beside(images, _colours(draws, DOMAIN_REACH))
    return _erased(_recoloured(_moved(images, draws, views, zoom), colours), draws)


def _moved(images: Tensor, draws: Draws, views: Views, zoom: Zoom | None) -> Tensor:
    maps = _maps(images, draws, views, zoom)
    return images if maps is None else _resampled(images, _beside(images, maps), views.outside)


def _maps(images: Tensor, draws: Draws, views: Views, zoom: Zoom | None) -> np.ndarray | None:
    """(N, 2, 3) from output to input coordinates, or None when nothing moves."""
    moves = geometry.Moves(views.affine, views.crop, mirror=views.flip or zoom is not None)
    if views.geometry == "published" and zoom is None:
        return geometry.published(draws, moves, images.shape[-1])
    return geometry.continuous(draws, moves, zoom)


def _erased(images: Tensor, draws: Draws) -> Tensor:
    inside = torch.ones(len(images), 1, 1, 1, dtype=torch.bool, device=images.device)
    for axis, place, side in ((2, "patch_y", "patch_height"), (3, "patch_x", "patch_width")):
        length = HIDDEN[0] + (HIDDEN[1] - HIDDEN[0]) * draws[side]
        begin = draws[place] * (1 - length)
        cells = (torch.arange(images.shape[axis], device=images.device) + 0.5) / images.shape[axis]
        first, last = (_beside(images, edge)[:, None] for edge in (begin, begin + length))
        within = (cells >= first) & (cells <= last)  # (N, H) or (N, W)
        inside = inside & (within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return images.masked_fill(inside, 0.0)


def _mirrored(images: Tensor, draws: np.ndarray) -> Tensor:
    mirror = to_device(draws < 0.5, images.device)[:, None, None, None]
    return torch.where(mirror, images.flip(3), images)


def _beside(images: Tensor, values: np.ndarray | Tensor) -> Tensor:
    return to_device(values, images.device, images.dtype)


def _resampled(images: Tensor, maps: Tensor, outside: str) -> Tensor:
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    if outside == "reflect":
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    shifted = F.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return shifted - 1


def _colours(draws: Draws, reach: dict[str, float]) -> np.ndarray:
    """(N, 4): factors of brightness, contrast and saturation, and the turn of the hue."""
    return np.stack([(name != "hue") + spread(draws[name], most) for name, most in reach.items()], axis=1)


def _recoloured(images: Tensor, colours: Tensor) -> Tensor:
    brightness, contrast, saturation, hue = colours[:, :, None, None, None].unbind(dim=1)
    x = (images + 1) / 2
    x = (x * brightness).clamp(0, 1)
    x = _blend(x, _grey(x).mean(dim=(2, 3), keepdim=True), contrast)
    x = _blend(x, _grey(x), saturation)
    x = turn_hue(x, hue[:, 0])
    return x * 2 - 1


def _grey(x: Tensor) -> Tensor:
    luma = torch.cat([x.new_full((1, 1, 1, 1), part) for part in LUMA], dim=1)  # made where x is: nothing is copied
    return (x * luma).sum(dim=1, keepdim=True)


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (other + factor * (x - other)).clamp(0, 1)


def turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """RGB images (N, 3, H, W) in [0, 1] with their HSV hue moved by `turns` (N, 1, 1), in full turns."""
    value, chroma = x.amax(dim=1), x.amax(dim=1) - x.amin(dim=1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    red, green, blue = x.unbind(dim=1)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = (sector / 6 + turns) * 6
    # HSV to RGB as one formula per channel: value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n + hue) mod 6
    channels = []
    for n in (5, 3, 1):
        k = (n + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)
