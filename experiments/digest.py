"""A digest of losses and weights of short runs: what a refactor must leave the same, to the bit, on one CPU.

python experiments/digest.py > before.txt; (the change); python experiments/digest.py | diff before.txt -
Every preset at small widths, 60 steps through all phases, without labels, with some, with all; joint and separate.
The digests differ between machines; on one machine they follow from the code alone. About four minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from open_tunit import Config, train
from open_tunit.settings.presets import PRESETS

STEPS = 60
SMALL: dict[str, Any] = {
    "model.size": 32,
    "model.guiding_width": 4,
    "model.generator_width": 4,
    "model.style_mlp_width": 16,
    "discriminator.width": 4,
    "discriminator.max_width": 32,
    "training.batch": 8,
    "training.queue": 64,
    "training.guiding_share": 0.5,
    "training.pair_share": 0.2,
}
SMALL_STYLES = {"model.style_dim": 48, "model.palette_dim": 16, "model.projection_dim": 16}
PROJECTED = {"discriminator.width": 8}
"""The projected discriminator normalises in groups of eight channels."""
LABELS: dict[str, dict[str, Any]] = {
    "none": {},
    "some": {"data.labels": "folders", "data.label_fraction": 0.1},
    "all": {"data.labels": "folders"},
}
NETWORKS = ("E", "E_ema", "G", "G_ema", "D")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    presets = parser.parse_args().presets
    torch.set_num_threads(1)
    for preset, labels, schedule in itertools.product(presets, LABELS, ("joint", "separate")):
        losses, weights = digests(preset, labels, schedule)
        print(f"{preset:10} labels {labels:5} {schedule:9} losses {losses} weights {weights}", flush=True)


def digests(preset: str, labels: str, schedule: str) -> tuple[str, str]:
    """Of the losses in the log, and of all networks' weights at the end."""
    with tempfile.TemporaryDirectory() as folder:
        styles: dict[str, Any] = {} if preset == "paper" else dict(SMALL_STYLES)
        styles |= PROJECTED if preset.startswith("photos") else {}
        overrides = SMALL | styles | LABELS[labels] | {"training.schedule": schedule}
        config = Config.preset(
            preset,
            data="critters:3",
            out=f"{folder}/run",
            steps=STEPS,
            seed=100,
            report_every=10,
            device="cpu",
            precision="float32",
            overrides=overrides,
        )
        train(config, console=Console(quiet=True))
        return losses_of(Path(config.out)), weights_of(Path(config.out))


def losses_of(run: Path) -> str:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in line.items() if name.startswith("loss/")} for line in lines]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:12]


def weights_of(run: Path) -> str:
    checkpoint = torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True)
    digest = hashlib.sha256()
    for name in NETWORKS:
        for value in checkpoint[name].values():
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
