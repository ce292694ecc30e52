"""Curves over training as small SVG charts, and the map of styles."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from open_tunit.evaluation.report import captions as names
from open_tunit.evaluation.report.markup import COLOURS
from open_tunit.media import images

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 320, 150, 44, 20, 8, 8
MOST_POINTS = 400
MAP_SIZE, MAP_TILE, MAP_BORDER = (1200, 760), 52, 4
MAP_IMAGES = 160


def curves(log: Sequence[Mapping[str, Any]]) -> str:
    """A chart for every loss, validation figure and the speed of a run's log; empty for fewer than two reports."""
    if len(log) < 2:
        return ""
    drawn = sorted({name for line in log for name in line if name.startswith(("validation/", "loss/"))}, key=_order)
    turns = [float(after["step"]) for before, after in itertools.pairwise(log) if before["phase"] != after["phase"]]
    charts = [_chart(name, log, turns) for name in [*drawn, "images_per_second"]]
    legend = '<p class="soft">Means between reports. Dashed: where a phase of the training begins.</p>'
    return f'{legend}<div class="curves">{"".join(charts)}</div>'


def style_picture(places: NDArray[np.float64], domains: NDArray[np.int64], pictures: Tensor) -> Image.Image:
    """Images (N, 3, S, S) laid out at their places (N, 2), framed in their domain's colour."""
    low, high = np.quantile(places, 0.01, axis=0), np.quantile(places, 0.99, axis=0)
    room = np.array(MAP_SIZE) - MAP_TILE - 2 * MAP_BORDER
    corners = ((places - low) / np.maximum(high - low, 1e-12)).clip(0, 1) * room
    canvas = Image.new("RGB", MAP_SIZE, "#f5f6f8")
    for index, (x, y) in enumerate(corners.round().astype(int).tolist()):
        tile = images.to_pil(pictures[index]).resize((MAP_TILE, MAP_TILE), Image.Resampling.BICUBIC)
        canvas.paste(ImageOps.expand(tile, MAP_BORDER, COLOURS[domains[index] % len(COLOURS)]), (x, y))
    return canvas


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("validation/"), names.CURVES.get(name, name)


def _chart(name: str, log: Sequence[Mapping[str, Any]], turns: Sequence[float]) -> str:
    points = [(float(line["step"]), float(line[name])) for line in log if name in line]
    points = [point for point in points if math.isfinite(point[1])][:: max(1, len(log) // MOST_POINTS)]
    if not points:
        return ""
    first, last = float(log[0]["step"]), float(log[-1]["step"])
    values = [value for _, value in points]
    low, high = _bounds(values)

    def across(step: float) -> float:
        return LEFT + (step - first) / max(last - first, 1e-9) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    path = " ".join(f"{across(step):.1f},{down(value):.1f}" for step, value in points)
    text = 'font-size="10" fill="#5b6472"'
    marks = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(v):.1f}" y2="{down(v):.1f}" stroke="#e2e5ea"/>'
        f'<text x="{LEFT - 5}" y="{down(v) + 3.5:.1f}" text-anchor="end" {text}>{names.short(v)}</text>'
        for v in (low, (low + high) / 2, high)
    )
    marks += "".join(
        f'<line x1="{across(t):.1f}" x2="{across(t):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
        'stroke="#9aa2ae" stroke-dasharray="3 3"/>'
        for t in turns
    )
    ends = f'<text x="{LEFT}" y="{HEIGHT - 5}" {text}>{first:.0f}</text>'
    ends += f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end" {text}>{last:.0f} steps</text>'
    line = f'<polyline points="{path}" fill="none" stroke="{COLOURS[0]}" stroke-width="1.6"/>'
    if len(points) == 1:
        line = f'<circle cx="{across(points[0][0]):.1f}" cy="{down(values[0]):.1f}" r="2.5" fill="{COLOURS[0]}"/>'
    title = html.escape(names.CURVES.get(name) or name.rpartition("/")[2].replace("_", " "))
    return (
        f"<figure><figcaption>{title} <span class=soft>{names.short(values[-1])} at the end</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title} over the steps">{marks}{ends}{line}</svg>'
        "</figure>"
    )


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2)
