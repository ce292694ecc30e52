"""`tunit` in float64, in which rounding stays small; its processes die as DEATHS says, RANK@STEP for each start."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Sequence

import torch

from open_tunit.cli.main import main
from open_tunit.training import loop
from open_tunit.training.pacing import pace
from open_tunit.training.session import opening, reached


def run(words: Sequence[str]) -> int:
    """Returns the exit code; for processes of their own, in which it changes what training does."""
    for module in (pace, reached):
        vars(module)["new_state"] = functools.partial(module.new_state, dtype=torch.float64)
    vars(opening)["Batches"] = functools.partial(opening.Batches, dtype=torch.float64)
    deaths = os.environ.get("DEATHS", "").split()[int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) :]
    take = loop._Session._one_step

    def one_step(session: loop._Session) -> object:
        if deaths and deaths[0] == f"{session.group.rank}@{session.state.step}":
            os.kill(os.getpid(), signal.SIGKILL)
        return take(session)

    vars(loop)["_Session"]._one_step = one_step
    return main(words)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
