"""A run looked at before it begins: what `tunit train --dry-run` prints."""

from __future__ import annotations

import time

from rich.console import Console

from open_tunit.device import memory_size
from open_tunit.settings.config import Config
from open_tunit.terminal import print_line
from open_tunit.training.distributed.group import processes
from open_tunit.training.pacing.estimate import Estimate, fitting, less_memory
from open_tunit.training.pacing.pace import Clock
from open_tunit.training.session.opening import Opening, open_run
from open_tunit.training.session.starting import enough_memory

MOST_OF_MEMORY = 0.9
"""Share of the device's memory beyond which a run may not go through."""


def preview(config: Config, *, console: Console | None = None, clock: Clock = time.perf_counter) -> None:
    """Print a run's images, steps, hours and memory on this machine, and what would fit; its folder stays as it is.

    A few throw-away steps are timed. Only decoded images are kept, in the cache. Raises what train raises before the
    first step.
    """
    config = config.placed()
    with processes() as group, enough_memory(config):
        console = group.console(console)
        device = group.each(lambda: group.device(config.device))
        opening = open_run(config, None, device, console, clock, group)
        rows = group.first(lambda: _rows(opening, config, clock))
    for name, text in rows.items():
        print_line(console, f"{name:12} {text}")
    print_line(console, f"nothing was written to {config.out}")


def _rows(opening: Opening, config: Config, clock: Clock) -> dict[str, str]:
    plan, dataset, expected = opening.plan, opening.dataset, opening.estimate
    parts = ", ".join(f"{len(dataset.indices(part)):,} {part}" for part in ("train", "val", "test"))
    left_out = f"; {len(dataset.unreadable):,} files are left out" if dataset.unreadable else ""
    alone, paired = plan.joint_start, plan.pair_steps
    phases = {"of E alone": alone, "on pairs": paired, "of all networks": plan.steps - alone - paired}
    counted = ", ".join(f"{count:,} {phase}" for phase, count in phases.items() if count)
    rows = {
        "images": f"{len(dataset.files):,} ({parts}){left_out}",
        "domains": "to be found in the images" if plan.config.auto_domains else str(plan.config.model.domains),
        "size": f"{plan.config.model.size} px, batches of {plan.training.batch}",
        "steps": f"{plan.steps:,}: {counted}",
        "time": "the run is finished" if expected is None else expected.time(),
    }
    if expected is not None:
        rows |= {"memory": expected.memory_in_words(), "what fits": _what_fits(expected, config, opening, clock)}
    return rows


def _what_fits(expected: Estimate, config: Config, opening: Opening, clock: Clock) -> str:
    ways = []
    if expected.too_long:
        ways.append(fitting(config, len(opening.batches.indices), expected.device, clock))
    if _too_large(expected):
        ways.append(less_memory(config))
    return "; ".join(ways) or "this does"


def _too_large(expected: Estimate) -> bool:
    size = memory_size(expected.device)
    return expected.memory is not None and size is not None and expected.memory > MOST_OF_MEMORY * size
