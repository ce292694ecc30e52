"""Is the built-in set hard enough for clustering and clear enough for a classifier?

Colours and pixels must not give the species away (k-means at most 0.6), a supervised network must tell it
(at least 0.99), and the lazy answers must be wrong. Writes one JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from open_tunit.data import critters
from open_tunit.evaluation.ground_truth.classifiers import train_classifiers

HISTOGRAM_BINS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--species", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/critters_honesty.json"))
    arguments = parser.parse_args()
    results = {str(k): measure(k, arguments.seed, arguments.size, arguments.count) for k in arguments.species}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def measure(species: int, seed: int, size: int, count: int) -> dict[str, object]:
    chosen = [critters.critter(seed, index, species=species) for index in range(count)]
    pixels = np.stack([critters.draw(critter, size) for critter in chosen])
    truth = np.array([critter.species for critter in chosen])
    histograms = np.stack([histogram(picture) for picture in pixels])
    return {
        "kmeans_pixels": clustered(pixels.reshape(count, -1) / 255.0, truth, species),
        "kmeans_colour_histograms": clustered(histograms, truth, species),
        "classifiers": train_classifiers(species=species, size=size).accuracy,
        "baseline_errors": baselines(chosen, size),
    }


def histogram(picture: np.ndarray) -> np.ndarray:
    cells = np.clip(picture.astype(int) * HISTOGRAM_BINS // 256, 0, HISTOGRAM_BINS - 1)
    flat = (cells * np.array([HISTOGRAM_BINS**2, HISTOGRAM_BINS, 1])).sum(axis=2).ravel()
    counts = np.bincount(flat, minlength=HISTOGRAM_BINS**3)
    return np.sqrt(counts / counts.sum())


def clustered(features: np.ndarray, truth: np.ndarray, species: int) -> float:
    """Best of five k-means runs by inertia: its Hungarian accuracy."""
    said = KMeans(species, n_init=5, random_state=0).fit_predict(features)
    table = np.zeros((species, species), dtype=int)
    np.add.at(table, (said, truth), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(truth))


def baselines(chosen: list[critters.Critter], size: int) -> dict[str, list[float]]:
    """Mean absolute error of the lazy answers, as a share of "source unchanged": [whole image, head]."""
    errors = {name: np.zeros(2) for name in ("unchanged", "recoloured", "reference")}
    for source, reference in zip(chosen[:400:2], chosen[1:400:2], strict=True):
        answer = critters.true_answer(source, reference)
        truth = critters.draw(answer, size).astype(float)
        mask = np.maximum(critters.head_mask(answer, size), critters.head_mask(source, size))
        guesses = {"unchanged": source, "recoloured": critters.recoloured(source, reference), "reference": reference}
        for name, guess in guesses.items():
            error = np.abs(critters.draw(guess, size) - truth).mean(axis=2)
            errors[name] += [error.mean(), (error * mask).sum() / mask.sum()]
    return {name: (value / errors["unchanged"]).round(3).tolist() for name, value in errors.items()}


if __name__ == "__main__":
    main()
