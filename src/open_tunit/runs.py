"""The run directory: what was asked, how far it came, and nothing half-written."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from open_tunit.data.doctor import Examination, Finding, save_manifest
from open_tunit.data.scan import LITTER
from open_tunit.files import TEMPORARY, naming, read_json, read_json_lines, sweep, write_atomic, write_text_atomic
from open_tunit.lock import locked
from open_tunit.model_files.places import CONFIG as MODEL_CONFIG
from open_tunit.model_files.places import MODEL, TRAINING_HASHES, bundled_names, model_folder
from open_tunit.settings.config import Config

KEPT_CHECKPOINTS = 2
CONFIG, DATA, CURVE, LOG, METRICS = "config.yaml", "data.json", "domains.json", "log.jsonl", "metrics.json"
FILES = "files.json"
BEST, CHECKPOINTS, SAMPLES, TENSORBOARD = "best", "checkpoints", "samples", "tensorboard"
REPORT, PAGE, COST = "report", "index.html", "cost.json"
LOCK, NOT_FINITE = "lock", "not_finite.pt"
"""The files and folders of a run's folder: code that opens them takes their names from here."""
INIT = "init"
"""Under which data.json holds the SHA-256 of the weights that the run started from."""
MOST_HASHES_BYTES = 100_000
"""A model's config.json holds its training images by content where they are no longer, about 6,000 images."""
ALARM = "alarm/"
"""Before the names of alarms in the log."""


class DifferentRunError(ValueError):
    """The output folder holds a run of other settings or other images, or files that are no run."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder `out` with config.yaml, log.jsonl, samples/, checkpoints/, model/ and, where validated, best/.

    files.json is there where the images come from a folder.
    """

    folder: Path

    @property
    def model_folder(self) -> Path:
        """What TUNIT.from_pretrained reads."""
        return self.folder / MODEL

    @property
    def best_folder(self) -> Path:
        """The model of the best validation score, where runs are validated."""
        return self.folder / BEST

    @property
    def samples_folder(self) -> Path:
        """A grid of every report."""
        return self.folder / SAMPLES

    @property
    def tensorboard_folder(self) -> Path:
        """TensorBoard's events, where it is installed."""
        return self.folder / TENSORBOARD

    def write_config(self, config: Config) -> None:
        """Write config.yaml. Raises ValueError where it cannot be written."""
        try:
            write_text_atomic(self.folder / CONFIG, config.to_yaml())
        except OSError as error:
            raise ValueError(f"cannot write the run in {self.folder}: {error.strerror}") from error

    def write_files(self, examination: Examination, found: Sequence[Finding]) -> Path:
        """Write files.json: what became of each file of the folder. Raises OSError."""
        save_manifest(examination, self.folder / FILES, found)
        return self.folder / FILES

    def model_step(self) -> int | None:
        """The step that the model in model/ is of; None where there is none."""
        step = _about(self.model_folder).get("step")
        return step if isinstance(step, int) else None

    def progress(self) -> tuple[int, float]:
        """Step of the newest checkpoint, by its name, and the seconds that the log has up to it; 0 without."""
        step = max((int(path.stem) for path in self._checkpoints()), default=0)
        return step, max((float(line.get("seconds", 0)) for line in self.log() if _step_of(line) <= step), default=0.0)

    def best_score(self, step: int) -> float:
        """The score of the model in best/, minus infinity where there is none or it is from after `step`."""
        about = _about(self.best_folder)
        try:
            return float(about["validation"]["score"]) if about["step"] <= step else -math.inf
        except (KeyError, TypeError, ValueError):
            return -math.inf

    def latest_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None; a damaged one is passed over with a warning."""
        return next((values for path in reversed(self._checkpoints()) if (values := _loaded(path)) is not None), None)

    def checkpoint(self, step: int) -> dict[str, Any] | None:
        """The checkpoint of this step, or None where it is not there or damaged, which a warning tells."""
        path = self.folder / CHECKPOINTS / f"{step:08d}.pt"
        return _loaded(path) if path.exists() else None

    def save_checkpoint(self, values: Mapping[str, Any], step: int, *, good_step: int) -> None:
        """Write checkpoints/STEP.pt atomically; keep the newest two, and that of `good_step`."""
        (self.folder / CHECKPOINTS).mkdir(exist_ok=True)
        _save_tensors(self.folder / CHECKPOINTS / f"{step:08d}.pt", values)
        for path in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            if int(path.stem) != good_step:
                path.unlink()

    def save_not_finite(self, values: Mapping[str, Any]) -> Path:
        """Write not_finite.pt, of the newest losses that were no numbers; returns its path."""
        _save_tensors(self.folder / NOT_FINITE, values)
        return self.folder / NOT_FINITE

    def cut_log(self, step: int) -> None:
        """Drop the log lines past `step`: they will be written again."""
        path = self.folder / LOG
        if not path.exists():
            return
        kept = [line for line in read_json_lines(path) if _step_of(line) <= step]
        write_text_atomic(path, "".join(f"{json.dumps(line)}\n" for line in kept))

    def append_log(self, line: Mapping[str, Any]) -> None:
        """Add one report to log.jsonl."""
        path = self.folder / LOG
        with naming(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def last_alarms(self) -> dict[str, float]:
        """The alarms of the last report, by name; none where there is no report yet."""
        log = self.log()
        values: dict[str, Any] = log[-1] if log else {}
        return {name.removeprefix(ALARM): value for name, value in values.items() if name.startswith(ALARM)}

    def log(self) -> list[dict[str, Any]]:
        """The reports of log.jsonl."""
        return read_json_lines(self.folder / LOG)

    def _checkpoints(self) -> list[Path]:
        return sorted(path for path in (self.folder / CHECKPOINTS).glob("*.pt") if path.stem.isdecimal())


def stored_config(folder: Path) -> Config | None:
    """The config.yaml of an existing run; None where nothing is. Raises DifferentRunError for other folders."""
    if folder.is_file():
        raise DifferentRunError(f"{folder} is a file; name a folder for the run")
    path = folder / CONFIG
    if path.is_file():
        return Config.from_yaml(path.read_text(encoding="utf-8"), name=str(path))
    if folder.is_dir() and not all(map(_left_by_us, folder.iterdir())):
        raise DifferentRunError(f"{folder} is not empty and holds no run; name another folder")
    return None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run's folder for this process alone; made, and removed again where nothing comes of it.

    Raises DifferentRunError for a folder of anything else, RunInUseError where another process trains the run, and
    ValueError where nothing can be written, or for a bundled checkpoint's name.
    """
    if folder.as_posix() in bundled_names():
        raise ValueError(f"out is {folder}, the name of a bundled checkpoint; name another folder, as runs/{folder}")
    stored_config(folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK))
        except OSError as error:
            raise ValueError(f"cannot write the run in {folder}: {error.strerror}") from error
        sweep(folder)
        yield


def claim(config: Config, about_data: Mapping[str, Any]) -> None:
    """Write data.json, which makes no run yet. Raises ValueError where nothing can be written."""
    try:
        write_text_atomic(Path(config.out) / DATA, json.dumps(about_data, indent=1) + "\n")
    except OSError as error:
        raise ValueError(f"cannot write the run in {config.out}: {error.strerror}") from error


def training_hashes_of(place: str | Path) -> str | None:
    """The training images of a model, by content; None where neither it nor the run that it lies in has them.

    `place` is a run, a model folder, a hub id or `critters`. Raises what model_folder raises.
    """
    folder = model_folder(place)
    data = _about(folder).get("data")
    found = data.get(TRAINING_HASHES) if isinstance(data, dict) else None
    if found is None and (folder.parent / CONFIG).is_file():
        found = read_json(folder.parent / DATA).get(TRAINING_HASHES)
    return found if isinstance(found, str) else None


def without_many_hashes(about_data: Mapping[str, Any]) -> dict[str, Any]:
    """What a model folder says of its data: all that data.json does but hashes too many for config.json."""
    many = len(about_data.get(TRAINING_HASHES, "")) > MOST_HASHES_BYTES
    return {name: value for name, value in about_data.items() if not (many and name == TRAINING_HASHES)}


def _save_tensors(path: Path, values: Mapping[str, Any]) -> None:
    import torch

    write_atomic(path, lambda temporary: torch.save(dict(values), temporary))


def _loaded(path: Path) -> dict[str, Any] | None:
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except OSError:
        raise
    except Exception as error:  # on damaged bytes torch's readers raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
        warnings.warn(f"{path} is damaged ({reason}); going back to an older checkpoint", stacklevel=2)
        return None


def _about(model: Path) -> dict[str, Any]:
    about = read_json(model / MODEL_CONFIG).get("about")
    return about if isinstance(about, dict) else {}


def _step_of(line: Mapping[str, Any]) -> int:
    step = line.get("step")
    return step if isinstance(step, int) else 2**62


def _left_by_us(path: Path) -> bool:
    """Whether a killed process, or the system's file manager, may have left it in a folder that is no run yet."""
    return path.name in (LOCK, DATA, CURVE, *LITTER) or TEMPORARY.fullmatch(path.name) is not None
