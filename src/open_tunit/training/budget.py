"""A budget in minutes: steps counted out after timing a few throw-away ones, then fewer or more at its pace."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from open_tunit.data.batches import Batch, Batches, ImageCodes, PairBatch
from open_tunit.data.pairs import PairTable
from open_tunit.settings.config import Config
from open_tunit.training.distributed import ALONE, Group
from open_tunit.training.domain_count import search_share
from open_tunit.training.graphs import Steps
from open_tunit.training.methods import batch_of, make_step
from open_tunit.training.plan import Phase, Plan
from open_tunit.training.state import new_state

WARM_STEPS, TIMED_STEPS = 3, 8
REPORTS_SHARE = 0.08
"""Share of the time that reports and checkpoints take."""
CERTAIN, WORTHWHILE = 0.95, 20
"""Share of the steps that seem to fit which is planned (the next report plans again), and so many more at the least."""
FEW_STEPS = 100
"""A run of fewer has not seen a few thousand images once."""

Clock = Callable[[], float]


def training_minutes(config: Config) -> float:
    """The minutes of a budget that are left when the number of domains has been found."""
    assert config.minutes is not None
    return config.minutes / (1 + search_share(config))


def fitted_to_minutes(
    plan: Plan, batches: Batches, *, half: bool, clock: Clock = time.perf_counter, group: Group = ALONE
) -> Plan:
    """`plan` with the steps and the start of the joint phase for its minutes, at this machine's speed.

    All processes of `group` take the steps, and process 0 counts.
    """
    started = clock()
    alone = 0.0 if plan.joint_start == 0 else plan.training.guiding_share
    paired = plan.training.pair_share if plan.pairs else 0.0
    guiding, pair, joint = _seconds_per_step(plan, batches, half, clock, group)
    seconds = training_minutes(plan.config) * 60 * (1 - REPORTS_SHARE) - (clock() - started)
    seconds = max(seconds, 1.0)
    joint_start = round(seconds * alone / guiding)
    pair_steps = round(seconds * paired / pair) if paired else 0
    steps = joint_start + pair_steps + max(1, round(seconds * (1 - alone - paired) / joint))
    counted = {"training.steps": steps, "training.joint_start": joint_start}
    counted |= {"training.pair_steps": pair_steps} if plan.pairs else {}
    return plan.replace(group.first(lambda: counted))


def slowed(plan: Plan, step: int, seconds: float, allowed: float) -> Plan:
    """`plan` with the steps of E that fit into `allowed` seconds, G's shortened alike, after `step` in `seconds`.

    The same where E keeps its pace. What has begun stays begun: prototypes that did not begin yet begin after `step`.
    """
    training, joint_start = plan.training, plan.joint_start
    pace = seconds / step * joint_start / allowed
    if pace <= 1:
        return plan
    soonest = math.ceil((step + 1) / (training.prototypes_start or 1))
    sooner = min(max(round(joint_start / pace), soonest), joint_start)
    pair_steps, joint_steps = round(plan.pair_steps / pace), max(1, round((plan.steps - plan.adversarial_start) / pace))
    counted = {"training.joint_start": sooner, "training.steps": sooner + pair_steps + joint_steps}
    return plan.replace(counted | ({"training.pair_steps": pair_steps} if plan.pairs else {}))


def repaced_pairs(plan: Plan, step: int, pace: float, left: float) -> Plan:
    """`plan` with as many steps of the pair phase after `step` as fit into `left` seconds, at `pace` seconds each.

    As many steps of the joint phase follow as were planned.
    """
    joint_steps = plan.steps - plan.adversarial_start
    pair_steps = step - plan.joint_start + max(0, math.floor(left / pace))
    if abs(pair_steps - plan.pair_steps) < WORTHWHILE:
        return plan
    return plan.replace(
        {"training.pair_steps": pair_steps, "training.steps": plan.joint_start + pair_steps + joint_steps}
    )


def quickened(plan: Plan, step: int, pace: float, left: float) -> Plan:
    """`plan` with as many steps after `step` as fit into `left` seconds, at `pace` seconds each; never fewer."""
    fitting = step + math.floor(CERTAIN * left / pace)
    return plan if fitting < plan.steps + WORTHWHILE else plan.replace({"training.steps": fitting})


def _seconds_per_step(
    plan: Plan, batches: Batches, half: bool, clock: Clock, group: Group
) -> tuple[float, float, float]:
    """Of a step of E alone, of the pair phase (0 without one), and of the joint phase."""
    state, step, training = new_state(plan, batches.device), make_step(plan, half, group), plan.training
    for queue in (state.keys, state.logits):  # full, as nearly all of the run
        queue.push(queue.rows.new_zeros(queue.size, queue.rows.shape[1]))
    take = functools.partial(Steps.on(batches.device, group=group), step, state)
    counted = {"training.steps": 4, "training.joint_start": 1} | ({"training.pair_steps": 1} if plan.pairs else {})
    probe = dataclasses.replace(plan, supervision="none").replace(counted)
    begun = probe.joint_start
    guiding, pairs, joint, lazy = (
        probe.phase(index) for index in (0, begun, begun + probe.pair_steps, begun + probe.pair_steps + 1)
    )
    batches, codes = copy.copy(batches), _random_codes(plan, batches)
    if plan.pairs:
        batches.pairs = PairTable.random(batches.indices, plan.config.model.domains)

    def timed(phase: Phase) -> float:
        batches.codes = codes if phase.name == "pairs" or plan.recipe.pretrained else None
        return _median_seconds(take, batches, phase, plan.batch_size(phase), clock)

    alone = 1.0 if plan.recipe.pretrained else timed(guiding)
    spent = alone, timed(pairs) if plan.pairs else 0.0, timed(joint)
    if training.r1_every == 1:
        return spent
    plain = timed(lazy)
    return spent[0], spent[1], plain + (spent[2] - plain) / training.r1_every


def _random_codes(plan: Plan, batches: Batches) -> ImageCodes:
    """Codes of as many images as there are, to time steps by."""
    styles = torch.randn(len(batches.indices), plan.config.model.style_dim, device=batches.device)
    return ImageCodes.of(batches.indices, styles, np.arange(len(styles)) % plan.config.model.domains)


def _median_seconds(
    take: Callable[[Batch | PairBatch, Phase], object], batches: Batches, phase: Phase, size: int, clock: Clock
) -> float:
    spent = []
    for index in range(WARM_STEPS + TIMED_STEPS):
        begun = _now(batches.device, clock)
        take(batch_of(batches, phase, index, size), phase)
        spent.append(_now(batches.device, clock) - begun)
    return statistics.median(spent[WARM_STEPS:])


def _now(device: torch.device, clock: Clock) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
