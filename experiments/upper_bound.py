"""How near translations of photographs could come: the Fréchet distance of pictures that had an easier task.

    python experiments/upper_bound.py RUN/model --data FOLDER --features NETWORK.ts [--pairs 200]

All rows have as many pictures, of the held-out part, and are measured against the same real ones, as `tunit evaluate`
does: training pictures; the held-out ones made soft by halving the side and doubling it; each redrawn in its own style
(G has the true answer in hand); each redrawn in the style of another of its domain, and of any other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from open_tunit import TUNIT
from open_tunit.data.cache import default_cache_root
from open_tunit.data.dataset import open_dataset
from open_tunit.evaluation.features.extractors import open_features
from open_tunit.evaluation.features.feature_cache import pictures, real_features
from open_tunit.evaluation.selection import select_pairs
from open_tunit.metrics.distances import frechet_distance
from open_tunit.settings.config import Data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    model = TUNIT.from_pretrained(given.model)
    root = default_cache_root()
    network = open_features(given.features, model, cache_root=root)
    dataset = open_dataset(Data(folder=given.data, fit=model.fit), size=model.config.size, seed=0)
    held_out = select_pairs(dataset, part="test", pairs=given.pairs, seed=0).images
    real = real_features(network, dataset, held_out, root)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(held_out)[: given.pairs]
    x = pictures(dataset, chosen)
    styles, domains = model.style(x), model.domains(x).argmax(dim=1)
    rows: dict[str, Tensor] = {
        "training pictures": pictures(dataset, rng.permutation(dataset.indices("train"))[: given.pairs]),
        "real, at half the side": soft(x),
        "redrawn in their own style": model.redraw(x, styles),
        "in the style of another of their domain": model.redraw(x, styles[others_of_domain(domains, rng)]),
        "in the style of any other": model.redraw(x, styles[torch.from_numpy(rng.permutation(len(x)))]),
    }
    print("| pictures | Fréchet distance |\n|---|---|")
    for name, images in rows.items():
        features = torch.cat([network(part) for part in images.split(64)])
        print(f"| {name} | {frechet_distance(real, features):.0f} |", flush=True)


def soft(x: Tensor) -> Tensor:
    half = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    return F.interpolate(half, scale_factor=2.0, mode="bilinear")


def others_of_domain(domains: Tensor, rng: np.random.Generator) -> Tensor:
    """For each place another one of the same domain, by one cycle through each domain in random order."""
    other = torch.arange(len(domains))
    for domain in domains.unique():
        places = torch.from_numpy(rng.permutation(torch.nonzero(domains == domain)[:, 0].numpy()))
        other[places] = places.roll(1)
    return other


if __name__ == "__main__":
    main()
