"""`tunit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def evaluate(run: Annotated[Path, tyro.conf.Positional], device: str = "auto") -> None:
    """Measure a run on held-out images; writes RUN/metrics.json and RUN/report/index.html.

    Args:
        run: The run's folder.
        device: auto, cpu, cuda, cuda:1, ...
    """
    from open_tunit.evaluation.protocol import evaluate_run

    metrics = evaluate_run(run, device=device)
    for name, value in metrics.items():
        if isinstance(value, (int, float)):
            print(f"{name:32} {value:.4g}")
    print(f"figures: {run / 'metrics.json'}   report: {run / 'report' / 'index.html'}")
