"""What a person sees of a run: the progress line, log.jsonl, TensorBoard, the sample grids."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from open_tunit import images
from open_tunit.model import TUNIT
from open_tunit.runs import ALARM, Run
from open_tunit.training.alarms import sentences
from open_tunit.training.budget import training_minutes
from open_tunit.training.samples import Samples


class Monitor:
    """Collects losses without reading them, and reports when told to."""

    def __init__(self, run: Run, samples: Samples, console: Console, *, seconds: float) -> None:
        self.run, self.samples, self.console = run, samples, console
        self.seconds = seconds
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._images = 0
        self._since = time.perf_counter()
        self._alarms = run.last_alarms()
        self._board: Any = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("step {task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=run.config.training.steps, losses="")

    def __enter__(self) -> Self:
        self._board = _tensorboard(self.run)
        self._progress.start()
        self._since = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def step(self, terms: Mapping[str, Tensor], step: int, phase: str, count: int) -> None:
        """Count one step's loss terms and its `count` images."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1
        self._images += count
        self._progress.update(self._task, completed=step, total=self.run.config.training.steps, description=phase)

    def elapsed(self) -> float:
        """Seconds of training so far, over all the sessions of the run."""
        return self.seconds + time.perf_counter() - self._since

    def report(
        self,
        model: TUNIT,
        step: int,
        phase: str,
        alarms: Mapping[str, float],
        validation: Mapping[str, float] | None = None,
    ) -> None:
        """Write a log line and a sample grid, show the losses, and say which alarms ring since this report."""
        spent = time.perf_counter() - self._since
        self.seconds += spent
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        line: dict[str, Any] = {
            "step": step,
            "phase": phase,
            "seconds": round(self.seconds, 2),
            "images_per_second": round(self._images / spent, 2),
            **{f"loss/{name}": round(value, 6) for name, value in means.items()},
            **{f"{ALARM}{name}": round(value, 6) for name, value in alarms.items()},
            **{f"validation/{name}": round(value, 6) for name, value in (validation or {}).items()},
        }
        self.run.append_log(line)
        self._show(line, means)
        for sentence in sentences(alarms, self._alarms):
            self.console.print(f"alarm: {sentence}", highlight=False, markup=False, soft_wrap=True)
        self._alarms = dict(alarms)
        self._draw(model, step, phase)
        self._sums, self._counts, self._images = {}, {}, 0
        self.seconds += time.perf_counter() - self._since - spent
        self._since = time.perf_counter()

    def _show(self, line: Mapping[str, Any], means: Mapping[str, float]) -> None:
        losses = " ".join(f"{name} {value:.3g}" for name, value in means.items())
        speed = f"{line['images_per_second']:.0f} img/s"
        self._progress.update(self._task, losses=f"{speed} {losses}")
        if not self.console.is_terminal:
            total = self.run.config.training.steps
            left = _in_words(self._seconds_left(line))
            self.console.print(f"{line['phase']} {line['step']}/{total} {speed} {left}{losses}", soft_wrap=True)
        if self._board is not None:
            for name, value in line.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name, value, line["step"])

    def _seconds_left(self, line: Mapping[str, Any]) -> float | None:
        """What is left of the minutes; without, what G's further steps take at this pace, None before G learns."""
        config = self.run.config
        if line["step"] >= config.training.steps:
            return None
        if config.minutes is not None:
            return training_minutes(config) * 60 - self.seconds
        if line["phase"] == "guiding":
            return None
        return (config.training.steps - int(line["step"])) * config.training.batch / float(line["images_per_second"])

    def _draw(self, model: TUNIT, step: int, phase: str) -> None:
        with torch.inference_mode():
            guiding = phase == "guiding"
            rows = self.samples.domain_sheet(model) if guiding else self.samples.translations(model)
        folder = self.run.folder / "samples"
        folder.mkdir(exist_ok=True)
        images.save_image(images.grid(rows), folder / f"{step:08d}.png")


def _in_words(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 60:.0f} min left " if seconds >= 60 else f"{max(seconds, 0):.0f} s left "


def _tensorboard(run: Run) -> Any:
    """A SummaryWriter where TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run.folder / "tensorboard"))
