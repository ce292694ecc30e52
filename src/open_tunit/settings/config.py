"""What a run is: frozen dataclasses, presets, YAML in and out. Torch-free."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from open_tunit.settings.conversion import ConfigError, build, plain, require, with_dotted
from open_tunit.settings.format_v1 import config_of_v1
from open_tunit.settings.presets import PRESETS
from open_tunit.settings.recipes import RECIPES, RecipeName
from open_tunit.settings.sections import SIZES, Data, Discriminator, Fit, Model, Training, ViewSettings
from open_tunit.urls import is_url

__all__ = ["SIZES", "Config", "Data", "Discriminator", "Fit", "Model", "Precision", "Training", "ViewSettings"]

FORMAT_VERSION = 2
Precision = Literal["auto", "float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run, and where it goes. Make one with `Config.preset`."""

    preset_name: str
    """The preset it was made from, for logs and cards; nothing depends on it."""
    recipe: RecipeName
    """The method (recipes.py)."""
    out: str
    """Folder of the run."""
    data: Data
    model: Model = dataclasses.field(default_factory=Model)
    discriminator: Discriminator = dataclasses.field(default_factory=Discriminator)
    training: Training = dataclasses.field(default_factory=Training)
    seed: int = 0
    auto_domains: bool = False
    """Find model.domains in the images before training begins, once; recipe `paper` cannot."""
    minutes: float | None = None
    """Time budget, turned into steps at the start, and anew at reports where the machine is slower or faster."""
    init: str | None = None
    """A model folder to start from instead of random weights (fine-tuning)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Precision = "auto"
    """auto = bfloat16 on GPUs that have it and CPUs that gain by it (AMX; AMD's AVX512-BF16), else float32. R1 is
    always float32."""
    report_every: int | None = None
    """Steps between reports (log line, sample grid, checkpoint); None = about 30 in the run, at least 20 apart."""
    validate_every: int = 0
    """Reports between label-free evaluations on validation images, which keep the best model in RUN/best; 0 = none."""
    on_nan: Literal["stop", "retry"] = "stop"
    """What follows losses that are no numbers: the run ends, or goes back to its last report, three times at most."""
    cache: str | None = None
    """Where decoded images are kept; None = $XDG_CACHE_HOME/open-tunit."""

    def __post_init__(self) -> None:
        require(bool(self.out), "out is empty; name the folder for the run")
        require(self.seed >= 0, f"seed is {self.seed}; it cannot be negative")
        pretrained = self.model.trunk != "vgg11"
        require(
            RECIPES[self.recipe].pretrained == pretrained,
            f"model.trunk is {self.model.trunk}, which is not that of recipe {self.recipe}",
        )
        shapes = RECIPES[self.recipe].shape_weight > 0
        require(
            self.model.projection_dim > 0 or not (shapes or self.training.prototypes_start > 0),
            f"model.projection_dim is 0; recipe {self.recipe} and training.prototypes_start need shape codes",
        )
        require(
            shapes or pretrained or not self.auto_domains,
            f"domains is auto, which needs the shape contrast, and recipe {self.recipe} has none: take preset cpu",
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
        values = {setting: value for setting, value in PRESETS[name].items() if setting not in settings}
        if is_critters(data):
            values |= {"data.views.colour": False, "model.domains": _critters_species(data)}
        overrides = settings.pop("overrides", {})
        if size is not None:
            values |= {"model.size": size}
        if name == "paper" and overrides.get("model.size", size) in (256, 512):
            values |= {"model.generator_width": 32, "discriminator.width": 32}
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
        version, values = checked_version(read_mapping(text, name), name)
        return cls.from_dict(config_of_v1(values, name) if version == 1 else values)

    def replace(self, overrides: Mapping[str, Any]) -> Config:
        """A copy with dotted fields changed: `config.replace({"training.batch": 16})`."""
        return type(self).from_dict(with_dotted(self.to_dict(), overrides))

    def placed(self) -> Config:
        """The same run for any working directory: paths of data, labels and init that are here become absolute."""
        paths = {"data.folder": self.data.folder, "data.labels": self.data.labels, "init": self.init}
        given = {name: path for name, path in paths.items() if path not in (None, "folders")}
        return self.replace({name: _absolute(str(path)) for name, path in given.items()})

    def identity(self) -> dict[str, Any]:
        """What must agree for two commands to be the same run: all but budget, device, report cadence and paths.

        Of data, labels and init only the kind is here; their contents are compared by fingerprints (runs.py).
        """
        values = self.to_dict()
        for name in ("preset_name", "out", "minutes", "device", "precision", "cache"):
            del values[name]
        for name in ("report_every", "validate_every", "on_nan"):
            del values[name]
        for name in ("steps", "joint_start", "guiding_share", "pair_steps", "pair_share"):
            del values["training"][name]
        if not is_critters(self.data.folder):
            values["data"]["folder"] = "a folder"
        if self.data.labels not in (None, "folders"):
            values["data"]["labels"] = "a table"
        if self.init is not None:
            values["init"] = "a model"
        if self.auto_domains:
            del values["model"]["domains"]
        return values


def model_from_dict(values: Mapping[str, Any]) -> Model:
    """The Model of a model folder's config.json. Raises ConfigError."""
    return typing.cast(Model, build(Model, values, "model"))


def checked_version(values: Mapping[str, Any], name: str) -> tuple[int, dict[str, Any]]:
    """The format_version and the other `values`; raises ConfigError when it is newer than this version reads."""
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
    return version, rest


def read_mapping(text: str, name: str) -> dict[str, Any]:
    """A YAML (or JSON) mapping; raises ConfigError in one line when it is not one."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {yaml_reason(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} holds {type(values).__name__}, expected a mapping of settings")
    return values


def yaml_reason(error: Exception) -> str:
    """What PyYAML says, in one line; a text that was given to it has no name to tell."""
    return " ".join(str(error).replace('in "<unicode string>", line', "in line").split())


def called(folder: str) -> str:
    """The name of a data folder, also of one that is given as `.` or `photos/x/..`."""
    name = Path(folder).name
    return (name if name not in ("", "..") else Path(folder).resolve().name) or folder


def is_critters(folder: str) -> bool:
    """Whether this names the built-in set, with any number of species."""
    return folder == "critters" or folder.startswith("critters:")


def _critters_species(folder: str) -> int:
    count = folder.partition(":")[2].partition(":")[0] or "5"
    require(count.isdigit(), f"data is {folder!r}; expected critters:K with K a number, as in critters:5")
    return int(count)


def _absolute(path: str) -> str:
    place = Path(path).expanduser()
    here = place.exists() or (path.endswith(".tar") and not is_url(path))
    if not here or is_critters(path):
        return path
    return str(place.resolve() if ".." in place.parts else place.absolute())
