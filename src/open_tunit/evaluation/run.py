"""A run or a model folder measured: its figures, its cost and its report."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import re
import shutil
import statistics
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from open_tunit import runs
from open_tunit.card import Publication, own_held_out, published_card
from open_tunit.device import choose_device, describe, peak_memory
from open_tunit.evaluation.protocol import Asked, Evaluation, measure
from open_tunit.evaluation.report.document import write_report
from open_tunit.files import write_text_atomic
from open_tunit.model import TUNIT
from open_tunit.model_files.places import CARD, CONFIG, MODEL, is_bundled
from open_tunit.runs import METRICS
from open_tunit.settings.config import Config, Data


def evaluate_run(
    run: Path,
    *,
    data: str | None = None,
    labels: str | None = None,
    weights: Literal["last", "best"] = "last",
    asked: Asked | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a run; writes RUN/metrics.json, RUN/report/index.html and RUN/report/cost.json, returns the figures.

    A model folder serves too, given `data`. `data` and `labels` None are the run's own, `weights` best is RUN/best.
    metrics.json holds nothing that another run of the same command would find different; times are in cost.json.
    Figures of another protocol (images, part, features, ...) that were there are kept as metrics-*.json, and their
    report as report-*/, with a warning. The run's card gets the figures of its own held-out images; where the set is
    too small for any, those of its training images, named so. Raises FileNotFoundError or ValueError for what is no
    run, and what `measure` raises.
    """
    begun = time.perf_counter()
    config, folder = _run_of(run, data, weights)
    model = TUNIT.from_pretrained(folder).to(choose_device(device))
    source = _data(config, model, data, labels)
    seed = config.seed if config is not None else 0
    asked = asked or Asked()
    if asked.cache is None and config is not None:
        asked = dataclasses.replace(asked, cache=config.cache)
    evaluation = measure(model, source, seed=seed, asked=asked, trained=runs.training_hashes_of(folder))
    about = model.about
    evaluation.figures["protocol"]["weights"] = weights
    evaluation.figures.update({"training_seconds": about.get("seconds"), "steps": about.get("step")})
    log = runs.Run(run).log()
    cost = _cost(evaluation, log, seconds=time.perf_counter() - begun)
    _keep_other_figures(run, evaluation.figures["protocol"])
    write_text_atomic(run / METRICS, json.dumps(evaluation.figures, indent=1) + "\n")
    write_report(run / runs.REPORT, evaluation, log=log, cost=cost)
    write_text_atomic(run / runs.REPORT / runs.COST, json.dumps(cost, indent=1) + "\n")
    if config is not None and _tells_card(config, evaluation):
        measured = Publication(metrics=evaluation.figures, domain_names=model.naming.names)
        write_text_atomic(folder / CARD, published_card(model.config, about, measured, run=config))
    return evaluation.figures


def _run_of(run: Path, data: str | None, weights: str) -> tuple[Config | None, Path]:
    """The run's config, None for a bare model folder, and where the model lies."""
    path = run / runs.CONFIG
    if is_bundled(run):
        raise ValueError(f"{run} comes with open-tunit, where no figures are written; measure a run, or a model folder")
    if path.is_file():
        folder = run / (runs.BEST if weights == "best" else MODEL)
        if weights == "best" and not folder.is_dir():
            raise FileNotFoundError(
                f"{run} has no {runs.BEST}/: it was trained without validate_every, or without validation images"
            )
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{run} has no model yet: its first report, or its end, writes one; go on with the same command"
            )
        return Config.from_yaml(path.read_text(encoding="utf-8"), name=str(path)), folder
    if not (run / CONFIG).is_file():
        raise FileNotFoundError(f"{run} is not a run: it has no {runs.CONFIG}")
    if data is None:
        raise ValueError(f"{run} is a model folder, not a run; name the images with --data FOLDER")
    if weights == "best":
        raise ValueError(f"{run} is a model folder; only a run has a best model")
    return None, run


def _tells_card(config: Config, evaluation: Evaluation) -> bool:
    """Whether the run's card has these figures: of its own held-out images, or of its own at all where none are."""
    parts = set(evaluation.dataset.split)
    own = evaluation.figures["protocol"]["data"] == config.data.folder
    return own_held_out(config, evaluation.model.about, evaluation.figures) or (own and parts == {"train"})


def _keep_other_figures(run: Path, protocol: Mapping[str, Any]) -> None:
    """Rename figures of another protocol, so that those of this one do not replace them."""
    path = run / METRICS
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    try:
        former = json.loads(text)["protocol"]
        name = f"{Path(former.pop('data')).name}-{former['part']}"  # the fingerprint stands for images that moved
    except (ValueError, TypeError, KeyError, AttributeError):
        former, name = text, "unknown"
    if former != json.loads(json.dumps({name: value for name, value in protocol.items() if name != "data"})):
        kind = hashlib.sha256(text.encode()).hexdigest()[:8]  # so that no other figures have this name
        name = f"{re.sub('[^A-Za-z0-9_-]+', '-', name)}-{kind}"
        kept = run / f"{path.stem}-{name}{path.suffix}"
        report = run / f"{runs.REPORT}-{name}"
        path.replace(kept)
        kept_as = f"kept as {kept.name}"
        if (run / runs.REPORT).is_dir():
            shutil.rmtree(report, ignore_errors=True)  # of these very figures, if any
            (run / runs.REPORT).rename(report)
            kept_as += f", its report as {report.name}/"
        warnings.warn(f"{path} was of other images, features or settings, and is {kept_as}", stacklevel=3)


def _data(config: Config | None, model: TUNIT, data: str | None, labels: str | None) -> Data:
    if config is None or data is not None:
        return Data(folder=str(data), labels=labels, fit=model.fit, background=model.background)
    return config.replace({"data.labels": labels}).data if labels is not None else config.data


def _cost(evaluation: Evaluation, log: list[dict[str, Any]], *, seconds: float) -> dict[str, str]:
    """What training and this evaluation took, in words."""
    about, model = evaluation.model.about, evaluation.model
    cost = {}
    if "seconds" in about:
        cost["training"] = f"{about['seconds']:.0f} s, {about['step']} steps, on {about['device']}"
    for phase in dict.fromkeys(line["phase"] for line in log):
        speed = statistics.median(line["images_per_second"] for line in log if line["phase"] == phase)
        cost[f"training speed, {phase} phase"] = f"{speed:.1f} images/s (median of the reports)"
    cost["this evaluation"] = f"{seconds:.0f} s, {_peak_memory()}"
    cost["translation"] = f"{_images_per_second(evaluation):.1f} images/s, in batches of 32"
    counts = [sum(value.numel() for value in network.parameters()) / 1e6 for network in (model.E, model.G)]
    cost["parameters"] = f"E {counts[0]:.2f} M, G {counts[1]:.2f} M"
    cost["machine"] = f"{describe(model.domain_styles.device)}, {platform.machine()}, {platform.system()}"
    cost["software"] = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("open-tunit", "torch"))
    return cost


def _images_per_second(evaluation: Evaluation) -> float:
    from open_tunit.evaluation.features.feature_cache import pictures

    x = pictures(evaluation.dataset, evaluation.selection.images[:32]).to(evaluation.model.domain_styles)
    begun = time.perf_counter()
    evaluation.model.translate(x, x).cpu()
    return len(x) / (time.perf_counter() - begun)


def _peak_memory() -> str:
    """Of this process so far; not known on Windows."""
    peak = peak_memory(torch.device("cpu"))
    return "memory not measured" if peak is None else f"{peak / 2**20:.0f} MiB at most"
