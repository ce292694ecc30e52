"""`tunit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro


def evaluate(
    run: Annotated[Path | None, tyro.conf.Positional] = None,
    data: str | None = None,
    labels: str | None = None,
    features: str | None = None,
    features_range: Literal["0..255", "0..1", "-1..1", "imagenet"] = "0..255",
    features_side: int | None = None,
    pairs: int | None = None,
    part: Literal["test", "val", "train", "all"] = "test",
    weights: Literal["last", "best"] = "last",
    compare: tuple[Path, Path] | None = None,
    device: str = "auto",
) -> None:
    """Measure a run on held-out images: metrics.json and report/index.html; or compare two measured runs.

    Args:
        run: The run's folder (or a model folder, with --data).
        data: Folder of images, or critters:K; the run's own unless given.
        labels: folders, or a CSV file with columns file,label.
        features: own (the model's E), inception (FID; fetched once), or a TorchScript, torch.export or ONNX file.
        features_range: Range of pixel values that the file's network expects.
        features_side: Side in pixels that the file's network expects; none if it resizes by itself.
        pairs: Number of translations; each image up to four times, 2,000 in all, unless given.
        part: Which part of the images; all, where the model was trained on none of them.
        weights: The run's last model, or the best of its validation.
        compare: Two runs to put side by side.
        device: auto, cpu, cuda, cuda:1, ...
    """
    if (run is None) == (compare is None):
        raise ValueError("evaluate needs a run (tunit evaluate RUN), or two to compare (--compare RUN_A RUN_B)")
    if compare is not None:
        _compare(*compare)
        return
    from open_tunit.evaluation.protocol import Asked
    from open_tunit.evaluation.report import captions as names
    from open_tunit.evaluation.run import evaluate_run
    from open_tunit.runs import METRICS, PAGE, REPORT

    assert run is not None
    asked = Asked(part=part, pairs=pairs, features=features, features_side=features_side, features_range=features_range)
    figures = evaluate_run(run, data=data, labels=labels, weights=weights, asked=asked, device=device)
    for rows in names.present(figures).values():
        for name in rows:
            print(f"{name:44} {names.number(figures[name]):>10}   {names.interval(figures, name)}".rstrip())
    print(f"measured on {names.measured_on(figures)}")
    print(f"features: {names.features(figures)}")
    for line in figures["notes"]:
        print(f"warning: {line}")

    print(f"figures: {run / METRICS}   report: {run / REPORT / PAGE}")


def _compare(a: Path, b: Path) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from open_tunit.evaluation.compare import compare_runs

    rows, warnings = compare_runs(a, b)
    table = Table("", *(Column(str(run), overflow="fold") for run in (a, b)), "difference")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for line in warnings:
        console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)
