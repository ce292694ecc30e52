"""The style maps of several runs side by side, by true species or by folder (Baek et al. 2021, figure 5).

    python experiments/style_maps.py --runs RUN_A RUN_B --titles joint separate --out maps.png

The held-out images' style codes by t-SNE; above each map the share of images whose nearest neighbours in the style
codes are of their own species, or from their own folder: labels that the runs did not see.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from open_tunit import TUNIT
from open_tunit.data.dataset import open_dataset
from open_tunit.media import images
from open_tunit.metrics.neighbours import neighbour_hits
from open_tunit.runs import stored_config
from open_tunit.style_map import style_map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--titles", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(5 * len(arguments.runs), 5), layout="constrained")
    for number, (run, title) in enumerate(zip(arguments.runs, arguments.titles, strict=True)):
        styles, labels, names = held_out(run)
        axes = figure.add_subplot(1, len(arguments.runs), number + 1)
        hits = neighbour_hits(styles, torch.from_numpy(labels)).double().mean()
        places = style_map(styles.numpy())
        for kind in np.unique(labels):
            x, y = places[labels == kind].T
            axes.scatter(x, y, s=9, linewidths=0, color=colormaps["tab10"](kind), label=names[kind])
        axes.set_title(f"{title}: {hits:.3f}")
        axes.set_xticks([])
        axes.set_yticks([])
    axes.legend(markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(arguments.out, dpi=100)


def held_out(run: Path) -> tuple[torch.Tensor, np.ndarray, list[str]]:
    """Style codes (N, d) of a run's held-out images, their labels (N,), and the labels' names."""
    config = stored_config(run)
    assert config is not None, f"{run} is not a run"
    labelled = dataclasses.replace(config.data, labels="folders")
    dataset = open_dataset(labelled, size=config.model.size, seed=config.seed)
    chosen = dataset.indices("test")
    model = TUNIT.from_pretrained(run / "model")
    styles = model.style(images.from_uint8(torch.from_numpy(dataset.images[chosen])))
    return styles, dataset.labels[chosen], list(dataset.label_names)


if __name__ == "__main__":
    main()
