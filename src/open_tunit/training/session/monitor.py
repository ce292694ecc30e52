"""What a person sees of a run: the progress line, log.jsonl, TensorBoard, the sample grids."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from open_tunit.media import images
from open_tunit.model import TUNIT
from open_tunit.runs import ALARM, Run
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.pacing.budget import training_minutes
from open_tunit.training.pacing.pace import Clock
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.reports.alarms import sentences
from open_tunit.training.reports.samples import Samples

DAMAGED = "damaged_samples"
"""In the log: samples of shards that could not be decoded so far, in whose place others stand."""


class Monitor:
    """Collects losses without reading them, and reports when told to."""

    def __init__(self, run: Run, samples: Samples, console: Console, *, seconds: float, clock: Clock) -> None:
        self.run, self.samples, self.console = run, samples, console
        self.seconds, self.clock = seconds, clock
        self.damaged: dict[str, str] = {}
        """Samples in whose place others stand, and why."""
        self._told_damaged = 0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._images = 0
        self._since = self.clock()
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
        self._task = self._progress.add_task("", total=None, losses="")

    def __enter__(self) -> Self:
        self._board = _tensorboard(self.run)
        self._progress.start()
        self._since = self.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def step(self, terms: Mapping[str, Tensor], step: int, plan: Plan, phase: Phase) -> None:
        """Count one step's loss terms and images."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1
        self._images += plan.batch_size(phase)
        self._progress.update(self._task, completed=step, total=plan.steps, description=phase.name)

    def went_back(self) -> None:
        """Forget the losses since the last report: its steps are taken anew. Their seconds count."""
        now = self.clock()
        self.seconds, self._since = self.seconds + now - self._since, now
        self._sums, self._counts, self._images = {}, {}, 0
        self._alarms = self.run.last_alarms()

    def elapsed(self) -> float:
        """Seconds of training so far, over all the sessions of the run."""
        return self.seconds + self.clock() - self._since

    def report(
        self,
        model: TUNIT,
        step: int,
        plan: Plan,
        phase: Phase,
        alarms: Mapping[str, float],
        validation: Mapping[str, float],
    ) -> None:
        """Write a log line and a sample grid, show the losses, and warn of alarms that ring since this report."""
        spent = self.clock() - self._since
        self.seconds += spent
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        line: dict[str, Any] = {
            "step": step,
            "phase": phase.name,
            "seconds": round(self.seconds, 2),
            "images_per_second": round(self._images / spent, 2),
            **{f"loss/{name}": round(value, 6) for name, value in means.items()},
            **{f"{ALARM}{name}": round(value, 6) for name, value in alarms.items()},
            **{f"validation/{name}": round(value, 6) for name, value in validation.items()},
        }
        if self.damaged:
            line[DAMAGED] = len(self.damaged)
        self.run.append_log(line)
        self._show(line, means, plan)
        if len(self.damaged) > self._told_damaged:
            file, reason = next(reversed(self.damaged.items()))
            print_warning(self.console, f"{len(self.damaged)} damaged samples so far, such as {file}, which {reason}")
            self._told_damaged = len(self.damaged)
        for sentence in sentences(alarms, self._alarms):
            print_warning(self.console, sentence)
        self._alarms = dict(alarms)
        self._draw(model, step, phase)
        self._sums, self._counts, self._images = {}, {}, 0
        self.seconds += self.clock() - self._since - spent
        self._since = self.clock()

    def _show(self, line: Mapping[str, Any], means: Mapping[str, float], plan: Plan) -> None:
        losses = " ".join(f"{name} {value:.3g}" for name, value in means.items())
        speed = f"{line['images_per_second']:.0f} img/s"
        self._progress.update(self._task, losses=f"{speed} {losses}")
        if not self.console.is_terminal:
            left = _in_words(self._seconds_left(line, plan))
            print_line(self.console, f"{line['phase']} {line['step']}/{plan.steps} {speed} {left}{losses}")
        if self._board is not None:
            for name, value in line.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name, value, line["step"])

    def _seconds_left(self, line: Mapping[str, Any], plan: Plan) -> float | None:
        """What is left of the minutes; without, what G's further steps take at this pace, None before G learns."""
        if line["step"] >= plan.steps:
            return None
        if plan.config.minutes is not None:
            return training_minutes(plan.config) * 60 - self.seconds
        if line["phase"] == "guiding":
            return None
        return (plan.steps - int(line["step"])) * plan.training.batch / float(line["images_per_second"])

    def _draw(self, model: TUNIT, step: int, phase: Phase) -> None:
        with torch.inference_mode():
            drawn = phase.train_generator
            rows = self.samples.translations(model) if drawn else self.samples.domain_sheet(model)
        folder = self.run.samples_folder
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

    return SummaryWriter(str(run.tensorboard_folder))
