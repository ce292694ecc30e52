"""Distillation: a guiding network of our own is trained on the pretrained one's style codes and logits; G stays.

Hinton, Vinyals & Dean 2015: on the training images and views of them, whose targets are computed once.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import Dataset
from open_tunit.data.views import Views
from open_tunit.model import TUNIT
from open_tunit.networks.generator import Generator
from open_tunit.networks.guides import Guide
from open_tunit.networks.guiding import Guidance
from open_tunit.networks.pretrained_guiding import PretrainedGuiding
from open_tunit.rng import Stream, rng
from open_tunit.terminal import print_line
from open_tunit.training.fitting.transitions import measure_statistics
from open_tunit.training.steps.descent import descend
from open_tunit.training.steps.objectives import Objective
from open_tunit.training.steps.state import set_rate

WIDTH, DEPTHS = 16, (1, 1, 2, 2, 2)
"""Of the guiding network; that of the preset `cpu`."""
SEEN = Views(outside="reflect")
"""How the training images are moved and recoloured: as x+, and without black corners."""
VIEWS, MOST_IMAGES = 4, 2000
"""Views of each image beside the plain one, and most images that are used, drawn by the seed."""
BATCH, RATE, CHUNK = 32, 2e-3, 32
MINUTES = 4.0
"""Unless steps or minutes are given."""
WARM_STEPS, TIMED_STEPS = 2, 5
LINES = 10
"""Of progress, on the way."""
SMALLEST = 1e-12


class Targets(NamedTuple):
    """What the pretrained E gives for every image in every view."""

    styles: Tensor
    """(1 + VIEWS, N, style_dim)"""
    logits: Tensor
    """(1 + VIEWS, N, K)"""


class DistillationSet:
    """`batch(step)` of the training images in one of their views, and what the pretrained E gives for them."""

    def __init__(
        self, E: Guide, G: Generator, batches: Batches, seed: int, progress: Callable[[int, int], None]
    ) -> None:
        self.batches, self.seed, self.G = batches, seed, G
        self.draws = [views.draw(rng(seed, Stream.DISTILLATION, v), len(batches.indices)) for v in range(1 + VIEWS)]
        self.targets = self._targets(E, progress)
        self.variance = _variance(adain_numbers(G, self.targets.styles))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, S, S), their target style codes (B, style_dim) and logits (B, K); all of one view."""
        count = len(self.batches.indices)
        at_once = min(BATCH, count)
        epoch, place = divmod(step, count // at_once)
        order = rng(self.seed, Stream.DISTILLATION, 1 + VIEWS, epoch).permutation(count)
        rows, view = order[place * at_once : (place + 1) * at_once], step % (1 + VIEWS)
        where = torch.as_tensor(rows, device=self.targets.styles.device)
        return self.images(rows, view), self.targets.styles[view, where], self.targets.logits[view, where]

    def images(self, rows: np.ndarray, view: int) -> Tensor:
        """The training images at these rows in a view; view 0 is as they are."""
        x = self.batches.pictures(self.batches.indices[rows])
        draws = {name: values[rows] for name, values in self.draws[view].items()}
        return x if view == 0 else views.augmented_view(x, draws, SEEN)

    def loss(self, guidance: Guidance, styles: Tensor, logits: Tensor) -> Objective:
        """The mean squared error of AdaIN's numbers as a share of their variance, 1 - R squared; and the domains'.

        The numbers are what G makes of a style code: whitened codes count directions that G hardly uses like the
        others. The domains' loss is KL(pretrained E's probabilities || the student's), mean over images (Hinton,
        Vinyals & Dean 2015).
        """
        style = (self.G.mlp(guidance.style) - adain_numbers(self.G, styles)).square().mean() / self.variance
        domain = F.kl_div(
            guidance.logits.log_softmax(dim=1), logits.log_softmax(dim=1), reduction="batchmean", log_target=True
        )
        return Objective(style + domain, {"style": style.detach(), "domain": domain.detach()})

    @torch.no_grad()
    def _targets(self, E: Guide, progress: Callable[[int, int], None]) -> Targets:
        count = len(self.batches.indices)
        parts = np.array_split(np.arange(count), -(-count // CHUNK))
        seen: list[list[Guidance]] = []
        for view in range(1 + VIEWS):
            seen.append([E(self.images(rows, view)) for rows in parts])
            progress((view + 1) * count, (1 + VIEWS) * count)
        return Targets(
            torch.stack([torch.cat([part.style for part in view]) for view in seen]),
            torch.stack([torch.cat([part.logits for part in view]) for view in seen]),
        )


def distil(
    model: TUNIT,
    dataset: Dataset,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    console: Console | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> TUNIT:
    """The model with a guiding network of its own in place of the pretrained one, on the same device, in eval mode.

    It learns from the training part of `dataset`, for so many `steps`, or about as many as fit into `minutes`
    (MINUTES). `about["distilled"]` tells what is lost, on images held out of the data set. Raises ValueError for a
    model without a pretrained trunk, and NotFiniteError.
    """
    if not isinstance(model.E, PretrainedGuiding):
        raise ValueError(f"the guiding network is {model.config.trunk}, not a pretrained one: nothing can be distilled")
    began, console = clock(), console or Console()
    device = model.domain_styles.device
    chosen = np.sort(rng(seed, Stream.DISTILLATION).permutation(dataset.indices("train"))[:MOST_IMAGES])
    batches = Batches(dataset.images, dataset.labels, chosen, seed=seed, view=SEEN, device=device)
    student = _student(model, seed)
    examples = DistillationSet(model.E, student.G, batches, seed, _progress(console, "computing targets: image", clock))
    if steps is None:
        left = (minutes or MINUTES) * 60 - (clock() - began)
        steps = max(1, round(left / _seconds_per_step(student.E, examples, clock)))
    _learn(student.E, examples, steps, _progress(console, "distilling: step", clock))
    measure_statistics(student.E, batches, seed)
    student.measure_domains(batches.in_parts(chosen, CHUNK), nearest=True)
    lost = fidelity(model, student, dataset, batches)
    student.about = model.about | {
        "domain_counts": student.domain_counts.tolist(),
        "distilled": {"from": model.config.trunk, "steps": steps, "seconds": round(clock() - began, 1), **lost},
    }
    return student


@torch.no_grad()
def adain_numbers(G: Generator, styles: Tensor) -> Tensor:
    """Style codes (..., style_dim) -> the shifts and scales (..., 2 * channels) that G's decoder is given."""
    numbers: Tensor = G.mlp(styles)
    return numbers


@torch.no_grad()
def fidelity(model: TUNIT, student: TUNIT, dataset: Dataset, batches: Batches) -> dict[str, Any]:
    """How near the student is to the model, on the images that are held out of training.

    `domain_agreement`: share of images in the same domain. `adain_r_squared`: of the numbers that G makes of the style
    codes. `translation_difference`: mean over pixels of the difference of an image's translations to the next one's
    style by both, in levels of 255. On the training images where there are no others: `part` says which, `images` how
    many.
    """
    held_out = np.concatenate([dataset.indices("val"), dataset.indices("test")])
    indices = np.sort(held_out) if len(held_out) else batches.indices
    pairs = [(model.E(x), student.E(x)) for x in batches.in_parts(indices, CHUNK)]
    (logits, styles), (own_logits, own_styles) = (
        (torch.cat([pair[which].logits for pair in pairs]), torch.cat([pair[which].style for pair in pairs]))
        for which in (0, 1)
    )
    numbers, own_numbers = adain_numbers(model.G, styles), adain_numbers(model.G, own_styles)
    error = (own_numbers - numbers).square().mean() / _variance(numbers[None])
    same = (own_logits.argmax(dim=1) == logits.argmax(dim=1)).float().mean()
    following, own_following = styles.roll(-1, 0), own_styles.roll(-1, 0)
    differences, place = [], 0
    for x in batches.in_parts(indices, CHUNK):
        rows = slice(place, place + len(x))
        content, place = model.G.encode(x), place + len(x)
        drawn, own = model.G.decode(content, following[rows]), model.G.decode(content, own_following[rows])
        differences.append((drawn - own).abs().mean(dim=(1, 2, 3)))
    return {
        "part": "held out" if len(held_out) else "train",
        "images": len(indices),
        "adain_r_squared": round(1 - float(error), 4),
        "domain_agreement": round(float(same), 4),
        "translation_difference": round(float(torch.cat(differences).mean()) * 255 / 2, 2),
    }


def _student(model: TUNIT, seed: int) -> TUNIT:
    shapes = dataclasses.replace(
        model.config, trunk="vgg11", guiding_width=WIDTH, guiding_depths=DEPTHS, projection_dim=0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = TUNIT(shapes, fit=model.fit, background=model.background)
    student.G.load_state_dict(model.G.state_dict())
    student.name_domains(model.naming)
    return student.to(model.domain_styles.device).eval()


def _learn(E: Guide, examples: DistillationSet, steps: int, progress: Callable[[int, int], None]) -> None:
    """Adam, whose rate falls to 0 as a cosine."""
    optimiser = torch.optim.Adam(E.parameters(), lr=RATE)
    E.train()
    for step in range(steps):
        set_rate(optimiser, RATE * 0.5 * (1 + math.cos(math.pi * step / steps)))
        x, styles, logits = examples.batch(step)
        objective = examples.loss(E(x), styles, logits)
        descend(objective, "E", [(E, optimiser)], step)
        progress(step + 1, steps)
    E.eval()


def _seconds_per_step(E: Guide, examples: DistillationSet, clock: Callable[[], float]) -> float:
    """By steps of a copy."""
    trial = copy.deepcopy(E)
    _learn(trial, examples, WARM_STEPS, lambda *_: None)
    began = clock()
    _learn(trial, examples, TIMED_STEPS, lambda *_: None)
    return (clock() - began) / TIMED_STEPS


def _progress(console: Console, what: str, clock: Callable[[], float]) -> Callable[[int, int], None]:
    """A line for every LINES-th part of the work."""
    began = clock()

    def tell(done: int, count: int) -> None:
        if done == count or done % max(1, count // LINES) == 0:
            left = (clock() - began) / done * (count - done)
            print_line(console, f"{what} {done} of {count}, {left:.0f} s left")

    return tell


def _variance(values: Tensor) -> Tensor:
    """The mean over the numbers of (V, N, d) of their variance over images."""
    return values.flatten(0, 1).var(dim=0, correction=0).mean().clamp(min=SMALLEST)
