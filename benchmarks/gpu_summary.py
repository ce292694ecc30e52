"""The results of `gpu.sh` on one screen.

python benchmarks/gpu_summary.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    folder = Path(sys.argv[1])
    log = folder / "log.txt"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        if line.startswith(("FAILED", "ERROR")) or " passed" in line or " failed" in line:
            print(line[:160])
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        print(f"-- {path.stem}: {result['machine'].partition(';')[0]}, torch {result['torch']}, {result['commit']}")
        for line in lines(result):
            print(line)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """A row a line, then what else is told."""
    for row in result.get("rows", []):
        yield short(row, leave_out=("commit", "seconds_least_most", "seconds_per_1000_images"))
    for name, value in result.items():
        if name not in ("rows", "machine", "torch", "commit"):
            yield f"{name}: {short(value)}"


def short(value: Any, leave_out: tuple[str, ...] = ()) -> str:
    if isinstance(value, dict):
        if set(value) == {"median", "least", "most"}:
            return f"{value['median']:.2f}x"
        return "  ".join(f"{key} {short(part)}" for key, part in value.items() if key not in leave_out)
    if isinstance(value, list):
        return " ".join(short(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:120]


if __name__ == "__main__":
    main()
