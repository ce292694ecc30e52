"""Two runs side by side, as their metrics.json have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_tunit.evaluation.report import captions as names
from open_tunit.runs import METRICS

FREE = {"weights", "data"}
"""Parts of the protocol that may differ between runs that compare: the fingerprint shows whether the images do."""
LABELS = "labels_fingerprint"
"""Missing where no label was used, and in figures of before; "domains" tells which figures are by label."""
FEATURES = {"features", "features_input", "features_identity"}
Row = tuple[str, str, str, str]


def compare_runs(a: Path, b: Path) -> tuple[list[Row], list[str]]:
    """Rows of name, first, second, difference; and warnings about what makes the two not comparable.

    Figures in feature space are left out unless both have the same features. Raises FileNotFoundError for a run
    without figures, ValueError for a file that holds none or is of another version.
    """
    first, second = _read(a), _read(b)
    differing = {
        name
        for name in {*first["protocol"], *second["protocol"]} - FREE
        if first["protocol"].get(name) != second["protocol"].get(name)
    }
    if "fingerprint" in differing or any(LABELS not in run["protocol"] for run in (first, second)):
        differing -= {LABELS}
    warnings = [_difference(name, first["protocol"], second["protocol"]) for name in sorted(differing - FEATURES)]
    comparable = not differing & FEATURES
    if not comparable:
        warnings.append("the features differ: figures in feature space are left out")
    rows = [("measured on", names.measured_on(first), names.measured_on(second), "")]
    for group, words in names.present(first).items():
        for name, (label, _) in words.items():
            if second.get(name) is not None and (comparable or group != names.FEATURES):
                rows.append(_row(name, label, first, second))
    return rows, warnings


def _difference(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    if name == "fingerprint":
        return f"the images differ, by their fingerprints: {first.get('data')} and {second.get('data')}"
    if name == LABELS:
        return "the labels differ: figures that take them do not compare"
    return f"{name.replace('_', ' ')} differs: {first.get(name)} and {second.get(name)}"


def _row(name: str, label: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Row:
    cells = []
    for figures in (first, second):
        bounds = names.interval(figures, name)
        cells.append(names.number(figures[name]) + (f" ({bounds})" if bounds else ""))
    change = second[name] - first[name]
    return label, cells[0], cells[1], ("+" if change > 0 else "") + names.number(change)


def _read(run: Path) -> dict[str, Any]:
    path = run / METRICS
    if not path.is_file():
        raise FileNotFoundError(f"{run} has no {METRICS}; run `tunit evaluate {run}` first")
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(figures, dict) or not isinstance(figures.get("protocol"), dict):
        raise ValueError(f"{path} states no protocol; run `tunit evaluate {run}` again")
    return figures
