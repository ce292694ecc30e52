"""Does `--domains auto` find the number of species, without seeing them? One cell per number and seed, in JSON.

    python experiments/domain_count.py --species 3 5 8 --seeds 0 1 2

A cell trains a guiding network of the `cpu` preset half as long again as until balanced prototypes would begin, and
asks its shape codes. Cells that are there already are not run again, so the command may be stopped and repeated. The
table at the end is of all cells that were asked for. Seeds 100 and above are for development.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from open_tunit.settings.config import Config
from open_tunit.training.fitting.domain_count import COUNTS, LENGTH, sweep

NEAR = 1
"""A number this close counts as found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--species", nargs="+", default=["3", "5", "8"], help="as after critters:, so 5:60/20/10/5/5 too"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/domain_count"))
    arguments = parser.parse_args()
    cells = [(species, seed) for species in arguments.species for seed in arguments.seeds]
    for species, seed in cells:
        folder = cell_folder(arguments.out, species, seed)
        if not (folder / "domains.json").exists():
            print(f"critters:{species}, seed {seed}", flush=True)
            run(species, seed, arguments.preset, folder)
    for line in table(arguments.out, cells):
        print(line)


def cell_folder(out: Path, species: str, seed: int) -> Path:
    return out / f"critters_{species.replace(':', '_').replace('/', '-')}_seed{seed}_{LENGTH:g}"


def run(species: str, seed: int, preset: str, folder: Path) -> None:
    config = Config.preset(preset, data=f"critters:{species}", out=str(folder), domains="auto", seed=seed)
    sweep(config, COUNTS, console=Console()).save(folder)


def table(out: Path, cells: list[tuple[str, int]]) -> list[str]:
    lines = ["| species | seed | found | score at 2, 3, … domains | seconds |", "|---|---|---|---|---|"]
    near = 0
    for species, seed in cells:
        curve = json.loads((cell_folder(out, species, seed) / "domains.json").read_text(encoding="utf-8"))
        near += abs(curve["chosen"] - int(species.split(":")[0])) <= NEAR
        scores = " ".join(f"{value:.2f}".replace("0.", ".") for value in curve["scores"])
        lines.append(f"| {species} | {seed} | {curve['chosen']} | {scores} | {curve['seconds']:.0f} |")
    return [*lines, "", f"within {NEAR} of the species in {near} of {len(cells)} cells"]


if __name__ == "__main__":
    main()
