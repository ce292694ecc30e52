"""What a run is: frozen dataclasses, presets, YAML in and out. Torch-free."""

from __future__ import annotations

import dataclasses
import math
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from open_tunit.places import BUNDLED
from open_tunit.presets import PRESETS
from open_tunit.settings import ConfigError, build, plain, require, with_dotted

FORMAT_VERSION = 1
SIZES = (32, 64, 128, 256, 512)

Fit = Literal["crop", "pad", "squash"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """Shapes of the three networks. The defaults are the paper's at 128 px."""

    size: int = 128
    """Side of the square images, in pixels: 32, 64, 128, 256 or 512."""
    domains: int = 10
    """Number of domains, K."""
    style_dim: int = 128
    """Length of a style code."""
    palette_dim: int = 0
    """How many of its numbers are the palette: colours as E's input and first stages see them. The paper: none."""
    guiding_width: int = 64
    """Channels of E's first convolution; the five stages have 1, 2, 4, 8, 8 times as many."""
    guiding_depths: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Convolutions in each of E's stages; a 2x2 max pool ends each."""
    projection_dim: int = 0
    """Length of the shape code, by which E learns what survives a change of colours; 0 = none, as in the paper."""
    generator_width: int = 64
    """Channels of G's first convolution, doubled at each halving of the side."""
    generator_bottleneck: int = 16
    """Side of G's content code, in cells; the number of halvings is log2(size / bottleneck)."""
    generator_blocks: int = 2
    """Residual blocks on either side of G's content code."""
    plain_start: bool = False
    """Begin with AdaIN near plain instance norm: scales around 1, the style's say small. The paper: scales around 0."""
    style_mlp_width: int = 256
    """Width of the two hidden layers between a style code and the AdaIN numbers."""
    discriminator_width: int = 64
    """Channels of D's first convolution, doubled at each halving of the side."""
    discriminator_max_width: int = 1024
    """Most channels of any layer of D."""
    normalize_contrast: bool = False
    """Compare directions only in the style contrast (L2-normalised). The paper: no."""

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
        for name in ("style_dim", "guiding_width", "generator_width", "generator_blocks", "style_mlp_width"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(
            1 <= self.discriminator_width <= self.discriminator_max_width,
            f"discriminator_width is {self.discriminator_width}; "
            f"expected 1 to discriminator_max_width = {self.discriminator_max_width}",
        )
        most = min(self.style_dim - 1, self.colours)
        require(0 <= self.palette_dim <= most, f"palette_dim is {self.palette_dim}; expected 0 to {most}")
        require(self.projection_dim >= 0, f"projection_dim is {self.projection_dim}; it cannot be negative")

    @property
    def colours(self) -> int:
        """What the palette is made of: means and deviations of the image's channels and of E's first three stages."""
        return 2 * (3 + 7 * self.guiding_width)

    @property
    def halvings(self) -> int:
        """How often G's content encoder halves the side."""
        return int(math.log2(self.size // self.generator_bottleneck))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """How an image becomes the batch's x (flip) and its augmented view x+ (all of them)."""

    flip: bool = True
    """Mirror x and x+ at random. Off where left and right are style; `domain_colour` mirrors its view all the same."""
    affine: bool = True
    """Rotation within 20 degrees, translation within 10 %, shear within 10 degrees."""
    crop: bool = True
    """Crop of scale and ratio 0.9 to 1.1."""
    colour: bool = True
    """Brightness, contrast, saturation 0.4, hue 0.125. Off where colour is the domain or the style."""
    domain_colour: bool = False
    """Show the domain objective a view of any colour with a patch hidden: domains are shapes and textures all over."""
    content_colour: bool = False
    """Show G's content encoder the image in other colours, so that colours come from the style code."""
    translation: bool = False
    """Show E the translations moved as x+ is, so that G cannot please it by dots that no picture has."""
    outside: Literal["black", "reflect"] = "black"
    """What the affine view shows beyond the border. The paper: black."""


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
    views: Views = dataclasses.field(default_factory=Views)

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
    """First step of the joint phase (E alone before it); None = `guiding_share` of the run: 65,000 of 200,000."""
    guiding_share: float = 0.325
    """Share of the run (of its time, with a budget in minutes) given to E alone when `joint_start` is None."""
    schedule: Literal["joint", "separate"] = "joint"
    """After its own phase E goes on learning with G and D (joint), or is frozen (separate)."""
    batch: int = 32
    """Images per step."""
    guiding_batch: int | None = None
    """Images per step while E learns alone; None = `batch`."""
    labelled_only_steps: int = 20_000
    """Semi-supervised: this many first steps draw labelled images only."""
    semi_joint_start: int = 35_000
    """Semi-supervised: first step of the joint phase."""

    domain_objective: Literal["mutual_information", "balanced_prototypes"] = "mutual_information"
    """What makes the domains. The paper: mutual_information."""
    pseudo_labels: Literal["online", "momentum"] = "online"
    """Which copy of E names the domain that D reads: E itself (the paper) or its momentum copy."""
    adversarial: Literal["hinge", "log"] = "hinge"
    """The published code's hinge, or the published text's log loss."""
    domain_weight: float = 5.0
    """Weight of the domain objective beside the style contrast in E's loss."""
    style_weight: float = 1.0
    """Weight of the style contrast in E's loss until the domain objective begins; 1 from then on."""
    prototypes_start: float = 0.0
    """Share of E's own phase before balanced prototypes begin, as the heads that views agree on the most."""
    shape_weight: float = 0.0
    """Weight of the shape contrast, between x and its recoloured view, beside the style contrast. The paper: none."""
    contrast_in_batch: bool = False
    """Let the other keys of the batch be negatives too, not the queue's alone. The paper: no."""
    label_weight: float = 5.0
    """Weight of the cross-entropy on labelled images in semi-supervised training."""
    supervised_label_weight: float = 0.0
    """The same when every image is labelled. The paper: 0, E's domain head stays untrained."""
    guiding_weight: float = 0.1
    """Weight of E's own loss in the joint phase (1 before it)."""
    reconstruction_weight: float = 0.1
    """Weight of the L1 reconstruction in G's loss."""
    translation_style_weight: float = 0.01
    """Weight of the style contrast on translations in G's loss."""
    translation_domain_weight: float = 0.0
    """Weight of E's cross-entropy on translations, with the reference's domain, in G's loss. The paper: none."""
    translations_teach_guiding: bool = True
    """Whether E's weights learn from the losses on translations, where E looks at them (the paper), or G's alone."""
    cycle_weight: float = 0.0
    """Weight of the L1 error of the source drawn again from its translation (held fixed), in its own style. The paper:
    none."""
    patch_weight: float = 0.0
    """Weight of the difference of each patch of a translation from the like of it in the reference. The paper: none."""
    patch_full_steps: int | None = None
    """Steps of G for which patches keep that weight, which then falls as 1 / steps; None = all."""
    mismatched: bool = False
    """D also learns that a real image is no image of another domain; with the fakes' loss as one mean of the two."""
    adversarial_weight: float = 1.0
    """Weight of D's opinion in G's loss."""
    r1_weight: float = 10.0
    """Weight of the gradient penalty in D's loss."""
    r1_every: int = 1
    """Steps between gradient penalties, whose weight grows by as much (lazy R1). The paper: 1."""

    temperature: float = 0.07
    """Temperature of the style contrast."""
    shape_temperature: float = 0.2
    """Temperature of the shape contrast."""
    queue: int = 1024
    """Keys that serve as negatives; at most half the training images."""
    balance_queue: int = 1024
    """Recent logits that balanced prototypes are balanced over, beside the batch."""
    sinkhorn_epsilon: float = 0.4
    """Temperature of the balanced assignment of standardised logits."""

    guiding_learning_rate: float = 1e-4
    """Of E."""
    joint_guiding_learning_rate: float | None = None
    """Of E once G learns, after a phase of its own; None = guiding_learning_rate, as in the paper."""
    joint_guiding_full_steps: int | None = None
    """Steps of G for which E keeps that rate, which then falls as 1 / steps; None = all, as in the paper."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """Of G and D: the paper's RMSprop, or Adam (betas 0.5, 0.99), whose first steps are not ten times too long."""
    learning_rate: float = 1e-4
    """Of G and D."""
    discriminator_learning_rate: float | None = None
    """Of D where it differs from G's; None = learning_rate, as in the paper."""
    guiding_weight_decay: float = 1e-3
    weight_decay: float = 1e-4
    """Of G and D."""
    average_decay: float = 0.999
    """Decay per step of the running averages of E and G."""
    measure_statistics: bool = False
    """Give the averaged E batch statistics measured on training images, not E's own (the published code)."""
    hold_domains: bool = False
    """After its own phase E keeps trunk, heads and statistics (measured on training images); only the palette learns
    on with G, or the whole style code where there is none."""
    average_warmup: bool = False
    """Let the decay rise as (1 + t) / (10 + t) at first, so that short runs have averages worth using."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "queue", "balance_queue", "r1_every"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(self.batch >= 2, f"batch is {self.batch}; batch statistics need at least 2 images")
        require(
            self.guiding_batch is None or self.guiding_batch >= 2,
            f"guiding_batch is {self.guiding_batch}; batch statistics need at least 2 images",
        )
        require(0 <= self.prototypes_start < 1, f"prototypes_start is {self.prototypes_start}; expected 0 to below 1")
        require(0 <= self.guiding_share <= 1, f"guiding_share is {self.guiding_share}; expected 0 to 1")
        require(
            self.joint_start is None or self.joint_start >= 0,
            f"joint_start is {self.joint_start}; it cannot be negative",
        )
        for name in ("joint_guiding_full_steps", "patch_full_steps"):
            full = getattr(self, name)
            require(full is None or full >= 1, f"{name} is {full}; it must be at least 1")
        require(0 <= self.average_decay < 1, f"average_decay is {self.average_decay}; expected 0 to below 1")
        rates = (
            "guiding_learning_rate", "joint_guiding_learning_rate", "learning_rate", "discriminator_learning_rate",
        )  # fmt: skip
        for name in rates:
            rate = getattr(self, name)
            require(rate is None or rate >= 0, f"{name} is {rate}; it cannot be negative")
        for name in ("temperature", "shape_temperature", "sinkhorn_epsilon"):
            require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; it must be above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run, and where it goes. Make one with `Config.preset`."""

    preset_name: str
    out: str
    data: Data
    model: Model = dataclasses.field(default_factory=Model)
    training: Training = dataclasses.field(default_factory=Training)
    seed: int = 0
    auto_domains: bool = False
    """Find model.domains in the images before training begins, once; it needs training.shape_weight above 0."""
    minutes: float | None = None
    """Time budget, turned into steps at the start, and anew at reports where the machine is slower or faster."""
    init: str | None = None
    """A model folder to start from instead of random weights (fine-tuning)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Precision = "auto"
    """auto = bfloat16 where the GPU or CPU multiplies in it, else float32. R1 is always float32."""
    report_every: int | None = None
    """Steps between reports (log line, sample grid, checkpoint); None = about 30 in the run, at least 20 apart."""
    validate_every: int = 0
    """Reports between label-free evaluations on validation images, which keep the best model in RUN/best; 0 = none."""
    cache: str | None = None
    """Where decoded images are kept; None = $XDG_CACHE_HOME/open-tunit."""

    def __post_init__(self) -> None:
        require(bool(self.out), "out is empty; name the folder for the run")
        require(
            Path(self.out).as_posix() != BUNDLED,
            f"out is {self.out}, the name of the model that comes along; name another folder, as runs/{BUNDLED}",
        )
        require(self.seed >= 0, f"seed is {self.seed}; it cannot be negative")
        needs_shapes = self.training.shape_weight > 0 or self.training.prototypes_start > 0
        require(
            self.model.projection_dim > 0 or not needs_shapes,
            "model.projection_dim is 0; training.shape_weight and training.prototypes_start need shape codes",
        )
        require(
            self.training.shape_weight > 0 or not self.auto_domains,
            "domains is auto, which needs shape codes: training.shape_weight above 0, as in the preset cpu or default",
        )
        require(self.minutes is None or self.minutes > 0, f"minutes is {self.minutes}; it must be above 0")
        require(
            self.report_every is None or self.report_every >= 1,
            f"report_every is {self.report_every}; it must be at least 1",
        )
        require(self.validate_every >= 0, f"validate_every is {self.validate_every}; it cannot be negative")

    @classmethod
    def preset(
        cls,
        name: str,
        *,
        data: str,
        out: str,
        domains: int | Literal["auto"] | None = None,
        size: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Config:
        """The preset called `name` with your settings.

        `domains` "auto" finds their number in the images. `settings` are fields of Config (`minutes=5`), or dotted
        ones in a mapping given as `overrides={"training.batch": 16}`. Raises ConfigError for an unknown name or a
        value that cannot be.
        """
        if name not in PRESETS:
            raise ConfigError(f"preset is {name!r}; expected one of {', '.join(PRESETS)}")
        values: dict[str, Any] = {f"model.{key}": value for key, value in PRESETS[name]["model"].items()}
        values |= {f"training.{key}": value for key, value in PRESETS[name]["training"].items()}
        values |= {f"data.views.{key}": value for key, value in PRESETS[name]["views"].items()}
        if _is_critters(data):
            values |= {"data.views.colour": False, "model.domains": _critters_species(data)}
        overrides = settings.pop("overrides", {})
        if size is not None:
            values |= {"model.size": size}
        if name == "paper" and overrides.get("model.size", size) in (256, 512):
            values |= {"model.generator_width": 32, "model.discriminator_width": 32}
        if domains == "auto":
            values["auto_domains"] = True
        elif domains is not None:
            values["model.domains"] = domains
        if steps is not None:
            values["training.steps"] = steps
        values |= overrides
        given = {"preset_name": name, "out": str(out), "seed": seed, "data": {"folder": str(data)}, **settings}
        return cls.from_dict(with_dotted(given, values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The Config of a nested mapping, as `to_dict` or a YAML file gives it. Raises ConfigError."""
        return typing.cast(Config, build(cls, values, "config"))

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for YAML or JSON."""
        return typing.cast(dict[str, Any], plain(dataclasses.asdict(self)))

    def to_yaml(self) -> str:
        """The run's config.yaml."""
        return yaml.safe_dump({"format_version": FORMAT_VERSION, **self.to_dict()}, sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str, *, name: str = "config.yaml") -> Config:
        """The inverse of `to_yaml`; `name` is how errors call the text."""
        return cls.from_dict(checked_version(read_mapping(text, name), name))

    def replace(self, overrides: Mapping[str, Any]) -> Config:
        """A copy with dotted fields changed: `config.replace({"training.batch": 16})`."""
        return type(self).from_dict(with_dotted(self.to_dict(), overrides))

    def identity(self) -> dict[str, Any]:
        """What must agree for two commands to be the same run: all but budget, device and report cadence."""
        values = self.to_dict()
        for name in ("out", "minutes", "device", "precision", "report_every", "validate_every", "cache"):
            del values[name]
        for name in ("steps", "joint_start", "guiding_share"):
            del values["training"][name]
        values["data"]["folder"] = _absolute(values["data"]["folder"])
        if values["data"]["labels"] not in (None, "folders"):
            values["data"]["labels"] = _absolute(values["data"]["labels"])
        if values["init"] is not None:
            values["init"] = _absolute(values["init"])
        if self.auto_domains:
            del values["model"]["domains"]
        return values


def model_from_dict(values: Mapping[str, Any]) -> Model:
    """The Model of a model folder's config.json. Raises ConfigError."""
    return typing.cast(Model, build(Model, values, "model"))


def read_model_config(text: str, name: str) -> dict[str, Any]:
    """The values of a model folder's config.json. Raises ConfigError when it is damaged, incomplete or newer."""
    values = checked_version(read_mapping(text, name), name)
    missing = [key for key in ("model", "fit", "background") if key not in values]
    require(not missing, f"{name} lacks {', '.join(missing)}")
    return values


def checked_version(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`values` without its format_version; raises ConfigError when that is newer than this version reads."""
    rest = dict(values)
    version = rest.pop("format_version", None)
    if not isinstance(version, int):
        raise ConfigError(
            f"{name} has no format_version; it was not written by open-tunit: begin with a run's config.yaml, or "
            "use --set"
        )
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"{name} has format_version {version}, newer than {FORMAT_VERSION}, which this open-tunit reads; upgrade it"
        )
    return rest


def read_mapping(text: str, name: str) -> dict[str, Any]:
    """A YAML (or JSON) mapping; raises ConfigError in one line when it is not one."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} holds {type(values).__name__}, expected a mapping of settings")
    return values


def _is_critters(folder: str) -> bool:
    return folder == "critters" or folder.startswith("critters:")


def _critters_species(folder: str) -> int:
    count = folder.partition(":")[2].partition(":")[0] or "5"
    require(count.isdigit(), f"data is {folder!r}; expected critters:K with K a number, as in critters:5")
    return int(count)


def _absolute(path: str) -> str:
    return path if _is_critters(path) else str(Path(os.path.expanduser(path)).resolve())
