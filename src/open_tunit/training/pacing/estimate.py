"""How long a run will take on this machine, how much memory, and what would fit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from open_tunit.data.batches import Batches
from open_tunit.device import describe, memory_size, peak_memory, use_half
from open_tunit.settings.config import SIZES, Config
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.pacing.budget import seconds_left, training_minutes
from open_tunit.training.pacing.pace import ROUGH, THOROUGH, Clock, Probe
from open_tunit.training.plan import Plan

MOMENT, LONG = 60.0, 24 * 3600.0
"""Seconds within which a run is timed by a single step, and after which, on a CPU, it is hardly what was meant."""
SMALL_PRESET, ROUNDED_MINUTES = "cpu", 5
"""The preset that fits any machine; to whole times so many minutes."""
GIGABYTE = 1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left of a run."""

    plan: Plan
    device: torch.device
    done: int
    """Steps before."""
    seconds: float
    memory: int | None = None
    """Bytes that the process has used at most, where steps were timed; None where none were, or it is not known."""

    @property
    def too_long(self) -> bool:
        """Whether a user of a CPU should be asked, who gave no minutes."""
        return self.device.type == "cpu" and self.seconds > LONG and self.plan.config.minutes is None

    def time(self) -> str:
        """The duration, on what, of which steps."""
        left = self.plan.steps - self.done
        steps = f"{left:,} of {self.plan.steps:,} steps" if self.done else f"{left:,} steps"
        duration, machine = in_words(self.seconds), describe(self.device)
        return f"{duration} on this machine ({machine}): {steps} at {self.seconds / left:.2g} s"

    def memory_in_words(self) -> str:
        """How much of the device's memory."""
        size = memory_size(self.device)
        if self.memory is None:
            return "not measured"
        return f"{self.memory / GIGABYTE:.1f} GB" + ("" if size is None else f" of {size / GIGABYTE:.0f} GB")


def estimate(
    plan: Plan, batches: Batches, *, done: int, spent: float, half: bool, clock: Clock, group: Group = ALONE
) -> Estimate:
    """What is left of the run after `done` steps in `spent` seconds.

    Minutes are kept, so nothing is timed where there are some; else a few throw-away steps are, a single one where
    that tells that the run takes a moment. Raises what steps raise.
    """
    if plan.config.minutes is not None:
        left = max(training_minutes(plan.config) * 60 - spent, 0.0)
        used = None if done else peak_memory(batches.device)  # a new run's minutes were turned into steps by steps
        return Estimate(plan=plan, device=batches.device, done=done, seconds=left, memory=used)
    probe = Probe(plan, batches, half=half, clock=clock, group=group)
    seconds = probe.first_joint_step() * (plan.steps - done)
    if seconds > MOMENT:
        pace = probe.pace(THOROUGH if batches.device.type == "cuda" else ROUGH)
        seconds = seconds_left(plan, pace, len(batches.indices), done)
    memory = peak_memory(batches.device)
    return Estimate(plan=plan, device=batches.device, done=done, seconds=seconds, memory=memory)


def fitting(config: Config, images: int, device: torch.device, clock: Clock) -> str:
    """The words of a command that trains on so many images here in minutes: the small preset, as long as it needs."""
    small = Config.preset(SMALL_PRESET, data=config.data.folder, out=config.out)
    plan, side = Plan.of(small), small.model.size
    nothing = np.broadcast_to(np.zeros((side, side, 3), dtype=np.uint8), (images, side, side, 3))
    batches = Batches(nothing, np.full(images, -1), np.arange(images), seed=0, view=plan.views, device=device)
    pace = Probe(plan, batches, half=use_half(config.precision, device), clock=clock).pace(ROUGH)
    minutes = ROUNDED_MINUTES * math.ceil(seconds_left(plan, pace, images, done=0) / 60 / ROUNDED_MINUTES)
    return f"--preset {SMALL_PRESET} --minutes {minutes} ({side} px)"


def less_memory(config: Config) -> str:
    """The two settings that need less memory, each with a value: half the images at once, or the next smaller size."""
    batches = {name: getattr(config.training, name) or 0 for name in ("batch", "guiding_batch")}
    halves = [f"--set training.{name}={count // 2}" for name, count in batches.items() if count >= 4]
    smaller = [f"--size {size}" for size in SIZES if size < config.model.size]
    ways = [f"{' '.join(halves)} (about half as much)"] if halves else []
    ways += [f"{smaller[-1]} (about a quarter)"] if smaller else []
    return f"{' or '.join(ways)} needs less" if ways else "it is the smallest"


def in_words(seconds: float) -> str:
    """A duration, to be read: 35 minutes, 31 hours, 310 hours (13 days)."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{hours:,} hours" + (f" ({hours / 24:,.0f} days)" if hours >= 72 else "")
