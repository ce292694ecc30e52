"""A budget in minutes: steps counted out after timing a few throw-away ones, then fewer or more at its pace."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time

import torch

from open_tunit.config import Config, Training
from open_tunit.data.batches import Batches
from open_tunit.training.domain_count import search_share
from open_tunit.training.schedule import Phase, Supervision, batch_at, phase_at
from open_tunit.training.state import State, new_state
from open_tunit.training.step import Step

WARM_STEPS, TIMED_STEPS = 3, 8
REPORTS_SHARE = 0.08
"""Share of the time that reports and checkpoints take."""
CERTAIN, WORTHWHILE = 0.95, 20
"""Share of the steps that seem to fit which is planned (the next report plans again), and so many more at the least."""


def training_minutes(config: Config) -> float:
    """The minutes of a budget that are left when the number of domains has been found."""
    assert config.minutes is not None
    return config.minutes / (1 + search_share(config))


def steps_for(config: Config, batches: Batches, supervision: Supervision, *, half: bool) -> Config:
    """`config` with `training.steps` and `training.joint_start` for its minutes, at this machine's speed."""
    assert config.minutes is not None
    started = time.perf_counter()
    share = 0.0 if supervision == "all" else config.training.guiding_share
    guiding, joint = _seconds_per_step(config, batches, supervision, half)
    seconds = config.minutes * 60 * (1 - REPORTS_SHARE) - (time.perf_counter() - started)
    seconds = max(seconds, 1.0)
    joint_start = round(seconds * share / guiding)
    steps = joint_start + round(seconds * (1 - share) / joint)
    return config.replace({"training.steps": max(steps, joint_start + 1), "training.joint_start": joint_start})


def slowed(training: Training, step: int, seconds: float, allowed: float) -> Training:
    """`training` with the steps of E that fit into `allowed` seconds, G's shortened alike, after `step` in `seconds`.

    The same where E keeps its pace. What has begun stays begun: prototypes that did not begin yet begin after `step`.
    """
    assert training.joint_start is not None
    pace = seconds / step * training.joint_start / allowed
    if pace <= 1:
        return training
    soonest = math.ceil((step + 1) / (training.prototypes_start or 1))
    joint_start = min(max(round(training.joint_start / pace), soonest), training.joint_start)
    generator_steps = max(1, round((training.steps - training.joint_start) / pace))
    return dataclasses.replace(training, joint_start=joint_start, steps=joint_start + generator_steps)


def quickened(training: Training, step: int, pace: float, left: float) -> Training:
    """`training` with as many steps after `step` as fit into `left` seconds, at `pace` seconds each; never fewer."""
    fitting = step + math.floor(CERTAIN * left / pace)
    return training if fitting < training.steps + WORTHWHILE else dataclasses.replace(training, steps=fitting)


def _seconds_per_step(config: Config, batches: Batches, supervision: Supervision, half: bool) -> tuple[float, float]:
    state = new_state(config, batches.device)
    step = Step(config, supervision, half)
    training = config.training
    probe = dataclasses.replace(training, steps=3, joint_start=1)
    guiding, joint, lazy = (phase_at(index, probe, "none") for index in range(3))
    size = batch_at(joint, training)
    spent = [_median_seconds(step, state, batches, phase, batch_at(phase, training)) for phase in (guiding, joint)]
    if training.r1_every > 1:
        plain = _median_seconds(step, state, batches, lazy, size)
        spent[1] = plain + (spent[1] - plain) / training.r1_every
    return spent[0], spent[1]


def _median_seconds(step: Step, state: State, batches: Batches, phase: Phase, size: int) -> float:
    spent = []
    for index in range(WARM_STEPS + TIMED_STEPS):
        begun = _now(batches.device)
        step(state, batches.batch(index, size), phase)
        spent.append(_now(batches.device) - begun)
    return statistics.median(spent[WARM_STEPS:])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
