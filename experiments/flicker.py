"""How much films flicker: neighbouring frames' differences when the motion is taken out, in levels of 255.

    python experiments/flicker.py [--model critters] [--films 6] [--picture OUT.png]

Critters whose heads move on an ellipse and nod, at 24 frames a second, plain and with noise of a camera (a standard
deviation of 2 levels). The true answer is drawn: its figure is what a translation without any flicker of its own would
have, and the error is the mean absolute difference from it. Half the strength with each frame's own style shows why a
film has one.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from open_tunit import TUNIT
from open_tunit.data import critters
from open_tunit.media import images
from open_tunit.metrics.flicker import flicker
from open_tunit.networks.style_code import walked

SEED, FIRST, SPECIES_COUNT = 0, 4500, 5
FRAMES, TURN = 48, 36
"""Frames of a film, and of one turn of the ellipse."""
NOISES = (0.0, 2.0)
SHOWN = 8


def film(critter: critters.Critter, size: int) -> np.ndarray:
    """(T, size, size, 3) uint8."""
    frames = []
    for frame in range(FRAMES):
        angle = 2 * math.pi * frame / TURN
        x, y = 1 + 0.7 * math.cos(angle), 1 + 0.7 * math.sin(angle)
        at: dict[str, Any] = {"x": x, "y": y, "tilt": 1 + 0.5 * math.sin(2 * angle)}
        frames.append(
            critters.draw(dataclasses.replace(critter, content=dataclasses.replace(critter.content, **at)), size)
        )
    return np.stack(frames)


def noisy(frames: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, frames.shape)
    return (frames + noise).round().clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="critters")
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    model = TUNIT.from_pretrained(arguments.model)
    size = model.config.size
    drawn = [critters.critter(SEED, FIRST + k, species=SPECIES_COUNT) for k in range(2 * arguments.films)]
    rows = []
    for noise in NOISES:
        found = []
        for k in range(arguments.films):
            source, reference = drawn[2 * k], drawn[2 * k + 1]
            clean = film(source, size)
            seen = images.from_uint8(noisy(clean, noise, seed=k))
            answer = images.from_uint8(film(critters.true_answer(source, reference), size))
            style = model.style(images.from_uint8(critters.draw(reference, size)[None]))
            own = model.style(seen)  # (T, D)
            ways = {
                "source": seen,
                "true answer": answer,
                "translation, frame by frame": model.redraw(seen, style),
                "half the strength, each frame's own style": model.redraw(seen, style, strength=0.5),
                "half the strength, one own style": model.redraw(seen, walked(own[:1], style, 0.5)),
            }
            figures = flicker(zip(*ways.values(), strict=True))
            errors = [127.5 * float((way - answer).abs().mean()) for way in ways.values()]
            found.append(list(zip(figures, errors, strict=True)))
            if not noise and k < 2:
                rows += [way[:: FRAMES // SHOWN] for way in list(ways.values())[:3]]
        print(f"noise {noise:g}")
        for name, (figure, error) in zip(ways, np.mean(found, axis=0), strict=True):
            print(f"| {name} | {figure:.2f} | {error:.2f} |", flush=True)
    if arguments.picture is not None:
        images.save_image(images.grid(torch.stack(rows)), arguments.picture)


if __name__ == "__main__":
    main()
