"""The sections of a run's settings, each owned by the part it sets. Frozen, validated at birth, torch-free."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from open_tunit.settings.conversion import require

SIZES = (32, 64, 128, 256, 512)

Fit = Literal["crop", "pad", "squash"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Shapes of E and G, which a model folder keeps. The defaults are the paper's at 128 px."""

    size: int = 128
    """Side of the square images, in pixels: 32, 64, 128, 256 or 512."""
    domains: int = 10
    """Number of domains, K."""
    trunk: Literal["vgg11", "efficientnet-lite0"] = "vgg11"
    """E's trunk: trained from scratch (the paper), or pretrained and frozen."""
    trunk_side: int = 128
    """Side in pixels to which pictures are resized for a pretrained trunk; it was trained at 224."""
    style_dim: int = 128
    """Length of a style code."""
    palette_dim: int = 0
    """How many of its numbers are the palette: a linear map of shallow-feature statistics, the means and deviations of
    the image's channels and of E's first three stages. The paper: none."""
    guiding_width: int = 64
    """Channels of E's first convolution; the five stages have 1, 2, 4, 8, 8 times as many."""
    guiding_depths: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Convolutions in each of E's stages; a 2x2 max pool ends each."""
    projection_dim: int = 0
    """Length of the shape code, which the shape contrast compares across changes of colour; 0 = none (the paper)."""
    generator_width: int = 64
    """Channels of G's first convolution, doubled at each halving of the side."""
    generator_bottleneck: int = 16
    """Side of G's content code, in cells; the number of halvings is log2(size / bottleneck)."""
    residual_scale: float = 0.1
    """Factor on the residual branches of G's blocks. The paper: 0.1."""
    generator_blocks: int = 2
    """Residual blocks on either side of G's content code."""
    style_mlp_width: int = 256
    """Width of the two hidden layers between a style code and the AdaIN numbers."""

    def __post_init__(self) -> None:
        sizes = ", ".join(map(str, SIZES))
        require(self.size in SIZES, f"size is {self.size}; it must be one of {sizes} (a power of two)")
        require(self.domains >= 2, f"domains is {self.domains}; at least 2 are needed")
        require(len(self.guiding_depths) == 5, f"guiding_depths has {len(self.guiding_depths)} entries, expected 5")
        require(min(self.guiding_depths) >= 1, f"guiding_depths is {self.guiding_depths}; each must be at least 1")
        bottleneck = self.generator_bottleneck
        require(
            bottleneck >= 4 and bottleneck & (bottleneck - 1) == 0 and bottleneck <= self.size // 2,
            f"generator_bottleneck is {bottleneck}; expected a power of two from 4 to size / 2 = {self.size // 2}",
        )
        for name in (
            "trunk_side",
            "style_dim",
            "guiding_width",
            "generator_width",
            "generator_blocks",
            "style_mlp_width",
        ):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        most = min(self.style_dim - 1, self.colours) if self.trunk == "vgg11" else self.style_dim - 1
        require(0 <= self.palette_dim <= most, f"palette_dim is {self.palette_dim}; expected 0 to {most}")
        require(self.projection_dim >= 0, f"projection_dim is {self.projection_dim}; it cannot be negative")

    @property
    def colours(self) -> int:
        """Number of shallow-feature statistics that the palette is a linear map of."""
        return 2 * (3 + 7 * self.guiding_width)

    @property
    def halvings(self) -> int:
        """How often G's content encoder halves the side."""
        return int(math.log2(self.size // self.generator_bottleneck))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discriminator:
    """Shape of D, which only training needs."""

    width: int = 64
    """Channels of D's first convolution, doubled at each halving of the side."""
    max_width: int = 1024
    """Most channels of any layer of D."""

    def __post_init__(self) -> None:
        require(
            1 <= self.width <= self.max_width,
            f"discriminator.width is {self.width}; expected 1 to discriminator.max_width = {self.max_width}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How an image becomes the batch's x (flip) and its augmented view x+ (all of them)."""

    flip: bool = True
    """Mirror x and x+ at random. Off where left and right are style; the domain view is mirrored all the same."""
    affine: bool = True
    """Rotation within 20 degrees, translation within 10 %, shear within 10 degrees."""
    crop: bool = True
    """Crop of scale and ratio 0.9 to 1.1."""
    colour: bool = True
    """Brightness, contrast, saturation 0.4, hue 0.125. Off where colour is the domain or the style."""
    domain_colour: bool = True
    """Let recipe `ours` recolour the domain objective's view. Off where colour is the domain (summer, winter)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Which images, and how files become squares."""

    folder: str
    """A folder of images (any nesting), or `critters:K` for the built-in set with K species."""
    labels: str | None = None
    """None, `folders`, or a CSV file with columns file,label."""
    label_fraction: float = 1.0
    """Share of the labelled training images, per class, whose label is used; 1 = all."""
    fit: Fit = "crop"
    """How a picture becomes square: centre crop, pad, or squash."""
    background: str = "#ffffff"
    """Colour under transparent pixels and around padded pictures."""
    views: ViewSettings = dataclasses.field(default_factory=ViewSettings)

    def __post_init__(self) -> None:
        require(bool(self.folder), "data is empty; name a folder of images, or critters:K")
        require(0 < self.label_fraction <= 1, f"label_fraction is {self.label_fraction}; expected above 0, up to 1")
        require(self.fit in ("crop", "pad", "squash"), f"fit is {self.fit!r}; expected crop, pad or squash")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How long, by which losses, with which optimisers. The defaults are the paper's."""

    steps: int = 200_000
    """Length of the run."""
    joint_start: int | None = None
    """First step at which G learns (E alone before it); None = `guiding_share` of the run: 65,000 of 200,000."""
    pair_steps: int | None = None
    """Steps of the pair phase, which begins at `joint_start`; None = `pair_share` of the run, 0 = no pairs."""
    pair_share: float = 0.0
    """Share of the run (of its time, with a budget in minutes) given to the pair phase. The paper: none."""
    guiding_share: float = 0.325
    """Share of the run (of its time, with a budget in minutes) given to E alone when `joint_start` is None."""
    schedule: Literal["joint", "separate"] = "joint"
    """After its own phase E goes on learning with G and D (joint), or is frozen (separate)."""
    batch: int = 32
    """Images per step."""
    guiding_batch: int | None = None
    """Images per step while E learns alone; None = `batch`."""

    adversarial: Literal["hinge", "log"] = "hinge"
    """The published code's hinge, or the published text's log loss."""
    prototypes_start: float = 0.0
    """Share of E's own phase before balanced prototypes begin, as the heads that views agree on the most."""
    guiding_weight: float = 0.1
    """Weight of E's own loss in the joint phase (1 before it)."""
    reconstruction_weight: float = 0.1
    """Weight of the L1 reconstruction in G's loss."""
    feature_weight: float = 0.0
    """Weight of the L1 between the trunk's features of reconstruction and source, in the recipe `pretrained`."""
    translation_style_weight: float = 0.01
    """Weight of the style contrast on translations in G's loss."""
    translation_domain_weight: float = 0.0
    """Weight of E's cross-entropy on translations, with the reference's domain, in G's loss. The paper: none."""
    cycle_weight: float = 0.0
    """Weight of the cycle's L1: the source, reconstructed from its detached translation in its own style. In the
    recipe `ours` it is not used beside pairs. The paper: none."""
    patch_weight: float = 0.0
    """Weight of the patch loss: each patch of a translation against its nearest patch of the reference. Not used
    beside pairs, nor in the recipe `pretrained`. The paper: none."""
    patch_full_steps: int | None = None
    """Steps of G for which patches keep that weight, which then falls as 1 / steps; None = all."""
    pair_weight: float = 0.0
    """Weight of the L1 to pairs found in the folder, in the joint phase; 0 = no pairs at all. The paper: none."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial terms in G's loss."""
    r1_weight: float = 10.0
    """Weight of the gradient penalty in D's loss."""
    r1_every: int = 1
    """Steps between gradient penalties, whose weight grows by as much (lazy R1). The paper: 1."""

    temperature: float = 0.07
    """Temperature of the style contrast."""
    queue: int = 1024
    """Keys that serve as negatives; at most half the training images."""

    guiding_learning_rate: float = 1e-4
    """Of E; Muon's matrices have 15 times as much."""
    joint_guiding_learning_rate: float | None = None
    """Of E once G learns, after a phase of its own; None = guiding_learning_rate, as in the paper."""
    joint_guiding_full_steps: int | None = None
    """Steps of G for which E keeps that rate, which then falls as 1 / steps; None = all, as in the paper."""
    optimizer: Literal["rmsprop", "adam", "muon"] = "rmsprop"
    """The paper's RMSprop for G and D, whose first steps are up to ten times the learning rate; Adam, which corrects
    that bias; or Muon, which moves the hidden matrices of E and G in all directions alike, with Adam for their other
    weights and for D. E has Adam unless there is Muon. Adam's betas for G and D are the recipe's `adversarial_beta`
    (0.5, or 0 in `pretrained`) and 0.99."""
    learning_rate: float = 1e-4
    """Of G and D; Muon's matrices have 15 times as much."""
    weight_decay: float = 1e-4
    """Of D, and of G unless by Muon."""
    average_decay: float = 0.999
    """Decay per step of the running averages of E and G."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "queue", "r1_every"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(self.batch >= 2, f"batch is {self.batch}; batch statistics need at least 2 images")
        require(
            self.guiding_batch is None or self.guiding_batch >= 2,
            f"guiding_batch is {self.guiding_batch}; batch statistics need at least 2 images",
        )
        require(0 <= self.prototypes_start < 1, f"prototypes_start is {self.prototypes_start}; expected 0 to below 1")
        for name in ("guiding_share", "pair_share"):
            require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; expected 0 to 1")
        require(
            self.pair_steps is None or self.pair_steps >= 0, f"pair_steps is {self.pair_steps}; it cannot be negative"
        )
        require(
            self.joint_start is None or self.joint_start >= 0,
            f"joint_start is {self.joint_start}; it cannot be negative",
        )
        for name in ("joint_guiding_full_steps", "patch_full_steps"):
            full = getattr(self, name)
            require(full is None or full >= 1, f"{name} is {full}; it must be at least 1")
        require(0 <= self.average_decay < 1, f"average_decay is {self.average_decay}; expected 0 to below 1")
        for name in ("guiding_learning_rate", "joint_guiding_learning_rate", "learning_rate"):
            rate = getattr(self, name)
            require(rate is None or rate >= 0, f"{name} is {rate}; it cannot be negative")
        require(self.temperature > 0, f"temperature is {self.temperature}; it must be above 0")
