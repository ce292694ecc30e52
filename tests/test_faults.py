"""experiments/faults: each part in short; docs/reliability.md has the counts of longer runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from open_tunit.files import read_json_lines

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "experiments" / "faults"
BEGIN, END = "<!-- counts: written by experiments/faults -->", "<!-- end of counts -->"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="cases are forked")


def _faults(*words: str | Path | int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


def _counts(out: Path, part: str, count: int) -> dict[str, Any]:
    done = _faults(part, "--count", count, "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the parts share the run that nothing happened to."""
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize(("part", "count"), [
    ("kills", 1), ("locks", 1), ("disk", 2), ("inputs", 10), ("models", 12),
])  # fmt: skip
def test_nothing_is_lost_run_or_unforeseen(out: Path, part: str, count: int) -> None:
    found = _counts(out, part, count)
    assert found["examples"] == []
    assert found["faults"] == 0
    assert found["tried"] >= count
    assert found["peak_mb"] < 1000


def test_a_part_goes_on_where_it_was_stopped_and_counts_what_went_wrong(out: Path, tmp_path: Path) -> None:
    record = out / "models.jsonl"
    lines = read_json_lines(record) or [{"case": 0, "counted": 1, "seconds": 1.0, "peak_mb": 9, "commit": "a"}]
    lines = [{**lines[0], "kind": "invented", "faults": ["ended with 70: ValueError"]}]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"case": 1, "kin')
    found = _counts(out, "models", 2)
    assert (found["tried"], found["faults"], found["examples"][0]["kind"]) == (2, 1, "invented")
    assert [line["case"] for line in read_json_lines(record)] == [0, 1]

    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert _faults("table", "--out", out, "--write", page).returncode == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| tried | times | faults |")
    assert "hostile model folders and checkpoints, to `info` and `translate` | 2 | 1 |" in text
    assert text.endswith(f"{END}\nafter\n")


def test_the_page_has_a_place_for_the_counts() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert 0 < text.index(BEGIN) < text.index(END)
