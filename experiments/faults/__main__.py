"""Faults tried on purpose, and counted: python experiments/faults PART [--count N] [--out FOLDER].

Parts: kills, resumes, locks, disk (of training runs), inputs (pictures), models (model folders). Each case is a
function of its number and leaves a line in FOLDER/PART.jsonl, from which a part that was stopped goes on; its counts
are printed as JSON. `python experiments/faults table` prints those of all parts as the table of docs/reliability.md,
and with --write PAGE puts it there. On one core: a second or two a case, of inputs a third.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_models
import odd_inputs
import stopped_runs
from cases import Outcome, Place

from open_tunit.files import read_json_lines, write_text_atomic
from open_tunit.rng import rng

Case = Callable[[Place, Any, int], Outcome | None]
PARTS: dict[str, tuple[Case, int, str]] = {
    "kills": (stopped_runs.killed, 200, "`kill -9` at random moments of tiny runs that are begun again each time"),
    "resumes": (stopped_runs.resumed, 20, "runs stopped by SIGTERM at two random steps and resumed, to the bit"),
    "locks": (stopped_runs.raced, 50, "two trainings begun on one run at nearly the same time"),
    "disk": (stopped_runs.disk_full, 10_000, "a full disk at every write of a short run, in three ways each"),
    "inputs": (odd_inputs.tried, 500, "odd and hostile picture files, to training's reader and to `translate`"),
    "models": (hostile_models.tried, 50, "hostile model folders and checkpoints, to `info` and `translate`"),
}
"""What a case is, how many there are unless --count says otherwise (disk: or as many as there are), and in words."""
BEGIN, END = "<!-- counts: written by experiments/faults -->", "<!-- end of counts -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("--count", type=int, help="cases; of kills, kills")
    parser.add_argument("--out", type=Path, default=Path("faults"))
    parser.add_argument("--write", type=Path, help="the page that gets the table")
    given = parser.parse_args()
    if given.part == "table":
        text = table(given.out)
        print(text)
        if given.write is not None:
            write_table(given.write, text)
        return
    print(json.dumps(tried(given.part, given.count, given.out)))


def tried(part: str, count: int | None, out: Path) -> dict[str, Any]:
    """Try the cases of a part that have not been tried yet; its counts over all that have."""
    case, usual, _ = PARTS[part]
    wanted, record = usual if count is None else count, out / f"{part}.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    place = Place.made(out.absolute())
    lines, commit = read_json_lines(record), _commit()
    while sum(line["counted"] for line in lines) < wanted:
        number = len(lines)
        outcome = case(place, rng(number), number)
        if outcome is None:
            break
        lines.append({"case": number, "commit": commit, **outcome.to_dict()})
        write_text_atomic(record, "".join(f"{json.dumps(line)}\n" for line in lines))
    return summary(part, lines)


def summary(part: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of a part; `faults` are cases in which anything went wrong."""
    wrong = [line for line in lines if line["faults"]]
    return {
        "part": part,
        "tried": sum(line["counted"] for line in lines),
        "cases": len(lines),
        "faults": len(wrong),
        "peak_mb": max((line["peak_mb"] for line in lines), default=0),
        "longest_s": max((line["seconds"] for line in lines), default=0.0),
        "commits": sorted({line["commit"] for line in lines}),
        "examples": [{"case": line["case"], "kind": line["kind"], "faults": line["faults"]} for line in wrong[:5]],
    }


def table(out: Path) -> str:
    """The counts of all parts that were tried, as a Markdown table."""
    rows = ["| tried | times | faults | most memory | commit |", "|---|---|---|---|---|"]
    for part, (_, _, words) in PARTS.items():
        found = summary(part, read_json_lines(out / f"{part}.jsonl"))
        if found["cases"]:
            commits = ", ".join(found["commits"])
            rows.append(f"| {words} | {found['tried']:,} | {found['faults']} | {found['peak_mb']} MB | {commits} |")
    return "\n".join(rows)


def write_table(page: Path, text: str) -> None:
    """Put the table between the page's marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the counts; expected {BEGIN} and {END}")
    write_text_atomic(page, f"{before}{BEGIN}\n{text}\n{END}{after}")


def _commit() -> str:
    words = ["git", "-C", os.fspath(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
