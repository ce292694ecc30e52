"""What training may ask on the way: a label-free score on the validation images, in seconds."""

from __future__ import annotations

from open_tunit.data.dataset import Dataset
from open_tunit.evaluation.selection import make_plan
from open_tunit.evaluation.translations import opinions, translate_pairs
from open_tunit.model import TUNIT

PAIRS = 128


def validate(model: TUNIT, dataset: Dataset) -> dict[str, float]:
    """`score` (label-free, higher is better) and what it is made of, on 128 pairs of validation images of seed 0."""
    plan = make_plan(dataset, part="val", pairs=PAIRS, most=PAIRS)
    made = translate_pairs(model, dataset, plan, opinions(model, dataset, plan).domains)
    return {
        "score": float(made.scores().mean()),
        "domain_reached": float(made.reached.mean()),
        "cycle_error": float(made.cycle_error.mean()),
    }
