"""The style maps of several runs on critters side by side, by true species (Baek et al. 2021, figure 5).

    python experiments/style_maps.py --runs RUN_A RUN_B --titles joint separate --out maps.png

The held-out critters' style codes by t-SNE; above each map the share of critters whose nearest neighbours in the style
codes are of their own species.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from open_tunit import TUNIT, images
from open_tunit.data import critters
from open_tunit.data.dataset import open_dataset, parse_critters
from open_tunit.evaluation.style_map import style_map
from open_tunit.metrics.neighbours import neighbour_hits
from open_tunit.training.run import stored_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--titles", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(5 * len(arguments.runs), 5), layout="constrained")
    for number, (run, title) in enumerate(zip(arguments.runs, arguments.titles, strict=True)):
        styles, species = held_out(run)
        axes = figure.add_subplot(1, len(arguments.runs), number + 1)
        hits = neighbour_hits(styles, torch.from_numpy(species)).double().mean()
        places = style_map(styles.numpy())
        for kind in np.unique(species):
            x, y = places[species == kind].T
            axes.scatter(x, y, s=9, linewidths=0, color=colormaps["tab10"](kind), label=critters.SPECIES[kind])
        axes.set_title(f"{title}: {hits:.3f}")
        axes.set_xticks([])
        axes.set_yticks([])
    axes.legend(markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(arguments.out, dpi=100)


def held_out(run: Path) -> tuple[torch.Tensor, np.ndarray]:
    """Style codes (N, d) and species (N,) of a run's held-out critters."""
    config = stored_config(run)
    assert config is not None, f"{run} is not a run"
    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed)
    chosen = dataset.indices("test")
    count, shares = parse_critters(str(config.data.folder))
    species = [critters.critter(config.seed, int(i), species=count, shares=shares).species for i in chosen]
    model = TUNIT.from_pretrained(run / "model")
    return model.style(images.from_uint8(torch.from_numpy(dataset.images[chosen]))), np.array(species)


if __name__ == "__main__":
    main()
