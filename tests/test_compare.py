"""evaluation/compare.py: two measured runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from open_tunit.evaluation.compare import compare_runs
from open_tunit.evaluation.run import evaluate_run


def test_two_runs_side_by_side(tiny_run: Path, tmp_path: Path) -> None:
    evaluate_run(tiny_run)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no metrics\.json; run `tunit evaluate .*other` first"):
        compare_runs(tiny_run, other)
    first, changed = (json.loads((tiny_run / "metrics.json").read_text()) for _ in range(2))
    changed["reconstruction_error"] += 0.25
    (other / "metrics.json").write_text(json.dumps(changed))
    rows, warnings = compare_runs(tiny_run, other)
    folder = json.loads((tiny_run / "metrics.json").read_text())["protocol"]["data"]
    assert rows[0] == ("measured on", *[f"20 held-out images (test part of {folder})"] * 2, "")
    (row,) = [row for row in rows if row[0] == "Reconstruction error"]
    assert row[3] == "+0.250"
    assert warnings == []
    assert any("Fréchet" in row[0] for row in rows)

    changed["protocol"] |= {"features_identity": "another", "seed": 5, "data": "the same images elsewhere"}
    (other / "metrics.json").write_text(json.dumps(changed))
    rows, warnings = compare_runs(tiny_run, other)
    assert not any("Fréchet" in row[0] for row in rows)
    assert warnings == ["seed differs: 0 and 5", "the features differ: figures in feature space are left out"]
    changed["protocol"]["fingerprint"] = "f"
    (other / "metrics.json").write_text(json.dumps(changed))
    expected = f"the images differ, by their fingerprints: {folder} and the same images elsewhere"
    assert expected in compare_runs(tiny_run, other)[1]

    del changed["protocol"]["fingerprint"], first["protocol"]["fingerprint"]
    for ours, theirs, told in (("a", "b", True), ("a", "a", False), ("a", None, False), (None, None, False)):
        for figures, labels in ((changed, ours), (first, theirs)):
            figures["protocol"].pop("labels_fingerprint", None)
            figures["protocol"] |= {} if labels is None else {"labels_fingerprint": labels}
        (other / "metrics.json").write_text(json.dumps(changed))
        (tiny_run / "metrics.json").write_text(json.dumps(first))
        said = compare_runs(tiny_run, other)[1]
        assert any(line.startswith("the labels differ") for line in said) == told
        assert not any("fingerprint" in line for line in said)
    for wrong in ("{", "[]", "{}"):
        (other / "metrics.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"is not JSON|states no protocol"):
            compare_runs(tiny_run, other)
