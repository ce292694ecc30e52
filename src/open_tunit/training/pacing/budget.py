"""Minutes to steps and steps to seconds, at a machine's pace; and steps counted anew where the pace changes."""

from __future__ import annotations

import math
import time

from open_tunit.data.batches import Batches
from open_tunit.settings.config import Config
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.fitting.domain_count import search_share
from open_tunit.training.fitting.transitions import (
    BEGIN_SAMPLE,
    BEGIN_VIEWS,
    SETTLE_SAMPLE,
    SETTLE_VIEWS,
    STATISTICS_SAMPLE,
)
from open_tunit.training.pacing.pace import THOROUGH, Clock, Pace, Probe
from open_tunit.training.plan import Plan
from open_tunit.training.reports.alarms import LOOKED_AT
from open_tunit.training.reports.samples import MEASURED

FILES_SHARE = 0.05
"""Share of the time in which checkpoints and models are written."""
CERTAIN, WORTHWHILE = 0.95, 20
"""Share of the steps that seem to fit which is planned (the next report plans again), and so many more at the least."""
SURPLUS = 1.15
"""How many times the planned steps of E must fit for more of them: a machine as fast as it was timed shows less."""
MOST_BETWEEN = 0.5
"""Share of the time that is planned between steps at the most: where images were timed in a bad moment there would be
no steps left, at whose reports steps are counted anew."""
FEW_STEPS = 100
"""A run of fewer has not seen a few thousand images once."""


def training_minutes(config: Config) -> float:
    """The minutes of a budget that are left when the number of domains has been found."""
    assert config.minutes is not None
    return config.minutes / (1 + search_share(config))


def fitted_to_minutes(
    plan: Plan, batches: Batches, *, half: bool, clock: Clock = time.perf_counter, group: Group = ALONE
) -> Plan:
    """`plan` with the steps and the start of the joint phase for its minutes, at this machine's speed."""
    started, images = clock(), len(batches.indices)
    pace = Probe(plan, batches, half=half, clock=clock, group=group).pace(THOROUGH)
    spent = group.first(lambda: clock() - started)
    seconds = training_minutes(plan.config) * 60 * (1 - FILES_SHARE) - spent
    without_reports = _counted_out(plan, pace, max(seconds, 1.0))
    seconds -= min(_between_steps(without_reports, pace, images, done=0), MOST_BETWEEN * seconds)
    return _counted_out(plan, pace, max(seconds, 1.0))


def _counted_out(plan: Plan, pace: Pace, seconds: float) -> Plan:
    """`plan` with as many steps as fit into the seconds, which its phases share."""
    alone, paired = plan.shares
    joint_start = max(1, round(seconds * alone / pace.guiding)) if alone else 0
    pair_steps = max(1, round(seconds * paired / pace.pairs)) if paired else 0
    steps = joint_start + pair_steps + max(1, round(seconds * (1 - alone - paired) / pace.joint))
    counted = {"training.steps": steps, "training.joint_start": joint_start}
    return plan.replace(counted | ({"training.pair_steps": pair_steps} if plan.pairs else {}))


def seconds_left(plan: Plan, pace: Pace, images: int, done: int) -> float:
    """What is left of the run after `done` steps, for so many training images."""
    alone = max(0, plan.joint_start - done)
    joint = plan.steps - max(done, plan.adversarial_start)
    paired = max(0, plan.steps - done - alone - joint)
    search = search_share(plan.config) * plan.steps if not done else 0.0
    steps = (alone + search) * pace.guiding + paired * pace.pairs + joint * pace.joint
    return (steps + _between_steps(plan, pace, images, done)) / (1 - FILES_SHARE)


def _between_steps(plan: Plan, pace: Pace, images: int, done: int) -> float:
    """Seconds that reports and turns of phase take after `done` steps: nearly all of them are E's, on many images."""
    reports = math.ceil((plan.steps - done) / plan.report_every)
    drawn = math.ceil((plan.steps - max(done, plan.joint_start)) / plan.report_every)
    encoded = reports * _encoded_at_a_report(plan, images) + _encoded_between_phases(plan, images, done)
    return encoded * pace.image + drawn * pace.joint  # its translations take about as long as a step


def _encoded_at_a_report(plan: Plan, images: int) -> int:
    """Typical styles, statistics, and domains in two views (alarms.py)."""
    means = 0 if plan.recipe.pretrained else min(images, MEASURED)
    statistics = min(images, STATISTICS_SAMPLE) if plan.recipe.measure_statistics else 0
    return means + statistics + 2 * min(images, LOOKED_AT)


def _encoded_between_phases(plan: Plan, images: int, done: int) -> int:
    """Features of all images, or samples in views (transitions.py)."""
    if plan.recipe.pretrained:
        return images
    encoded = 0
    if plan.training.prototypes_start > 0 and done <= plan.domains_start:
        encoded += (1 + BEGIN_VIEWS) * min(images, BEGIN_SAMPLE)
    if plan.phase(plan.joint_start).freeze_domains and done <= plan.joint_start:
        encoded += (1 + SETTLE_VIEWS) * min(images, SETTLE_SAMPLE)
    return encoded + (images if plan.pairs else 0)


def repaced_guiding(plan: Plan, step: int, seconds: float, allowed: float) -> Plan:
    """`plan` with the steps of E that fit into `allowed` seconds, G's in proportion, after `step` in `seconds`.

    The same where E keeps its pace. What has begun stays begun: prototypes that did not begin yet begin after `step`.
    """
    training, joint_start = plan.training, plan.joint_start
    fitting = allowed / (seconds / step) / joint_start
    if 1 <= fitting < SURPLUS:
        return plan
    soonest = math.ceil((step + 1) / (training.prototypes_start or 1))
    start = max(round(joint_start * fitting), min(soonest, joint_start))
    pair_steps = max(1, round(plan.pair_steps * fitting)) if plan.pairs else 0
    joint_steps = max(1, round((plan.steps - plan.adversarial_start) * fitting))
    counted = {"training.joint_start": start, "training.steps": start + pair_steps + joint_steps}
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
