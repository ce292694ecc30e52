"""What is measured on which images: evaluate() and the figures of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from open_tunit import images
from open_tunit.config import Config, Data
from open_tunit.data.dataset import Dataset, is_critters, open_dataset
from open_tunit.evaluation import truth
from open_tunit.evaluation.report import Page, write_report
from open_tunit.files import write_text_atomic
from open_tunit.metrics.clustering import matched_accuracy
from open_tunit.model import TUNIT
from open_tunit.training.device import choose_device

MOST_IMAGES = 2000


def evaluate(model: TUNIT, data: str, labels: str | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Figures of a model on the held-out (test) images of a folder, or on critters with their true answers.

    `labels` is None, `folders` or a CSV file; `seed` draws the pairs (and the critters). Returns name -> figure,
    with the protocol beside them. Raises what opening the data raises.
    """
    if is_critters(data):
        return truth.measure(model, data, seed=seed)[0]
    dataset = open_dataset(
        Data(folder=data, labels=labels, fit=model.fit, background=model.background), size=model.config.size, seed=seed
    )
    return _figures_of_folder(model, dataset, seed)


def evaluate_run(run: Path, *, device: str = "auto") -> dict[str, Any]:
    """Measure a run; writes RUN/metrics.json and RUN/report/index.html, and returns the figures."""
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{run} is not a run: it has no config.yaml")
    config = Config.from_yaml(path.read_text(encoding="utf-8"), name=str(path))
    model = TUNIT.from_pretrained(run / "model").to(choose_device(device))
    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed, cache=config.cache)
    held_out = _pictures(dataset, _held_out(dataset))
    if is_critters(config.data.folder):
        figures, pairs, translations = truth.measure(model, config.data.folder, seed=config.seed)
        page = Page(model, held_out, answers=(pairs.source, pairs.reference, translations, pairs.answer))
    else:
        figures = _figures_of_folder(model, dataset, config.seed)
        page = Page(model, held_out)
    figures = {**figures, "training_seconds": model.about["seconds"], "steps": model.about["step"]}
    write_text_atomic(run / "metrics.json", json.dumps(figures, indent=1) + "\n")
    write_report(run / "report", page, figures, config)
    return figures


def _held_out(dataset: Dataset) -> np.ndarray:
    """The test images; where there are none the validation ones, else all."""
    for part in ("test", "val", "train"):
        if len(indices := dataset.indices(part)):
            return indices[:MOST_IMAGES]
    raise ValueError("the data set is empty")


def _pictures(dataset: Dataset, indices: np.ndarray) -> torch.Tensor:
    return images.from_uint8(torch.from_numpy(np.ascontiguousarray(dataset.images[indices])))


def _figures_of_folder(model: TUNIT, dataset: Dataset, seed: int) -> dict[str, Any]:
    indices = _held_out(dataset)
    x = _pictures(dataset, indices)
    pseudo = model.domains(x).argmax(dim=1).cpu().numpy()
    redrawn = model.translate(x, x).cpu()
    order = torch.as_tensor(np.random.Generator(np.random.Philox(seed)).permutation(len(x)))
    translations = model.translate(x, x[order])
    reached = model.domains(translations).argmax(dim=1).cpu().numpy() == pseudo[order.numpy()]
    figures: dict[str, Any] = {
        "held_out_images": len(x),
        "reconstruction_error": float((redrawn - x).abs().mean()) / 2,
        "domain_reached_by_own_judgement": float(reached.mean()),
        "images_per_domain": np.bincount(pseudo, minlength=model.config.domains).tolist(),
        "protocol": f"held-out images, at most {MOST_IMAGES}, paired by a permutation of seed {seed}; "
        "errors in [0, 1]; the domain reached is E's own opinion of its translations",
    }
    known = dataset.labels[indices] >= 0
    if known.any():
        figures["pseudo_label_accuracy"] = matched_accuracy(pseudo[known], dataset.labels[indices][known])
    return figures
