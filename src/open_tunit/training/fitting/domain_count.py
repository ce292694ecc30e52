"""How many domains: the number of clusters with the most mutual information between views, minus a share of log K.

E learns shape codes by contrast, once, for LENGTH times the steps before balanced prototypes; k-means then clusters
them for every number in question. A border between kinds falls in the same place in another view of the image and adds
to the mutual information between views; one through the middle of a kind falls elsewhere and adds little. With a
pretrained trunk nothing is trained: its features are clustered (training/fitting/pretrained.py). docs/domains.md has
the evidence.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from open_tunit import losses
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.data.dataset import open_dataset
from open_tunit.data.doctor import by_reason
from open_tunit.device import choose_device, in_float64, use_half
from open_tunit.files import write_text_atomic
from open_tunit.rng import Stream, rng
from open_tunit.runs import CURVE
from open_tunit.settings.config import Config
from open_tunit.settings.conversion import ConfigError, require
from open_tunit.settings.recipes import RECIPES
from open_tunit.terminal import print_line, print_warning
from open_tunit.training.distributed.group import ALONE, Group
from open_tunit.training.fitting.clustering import kmeans
from open_tunit.training.fitting.pretrained import codes_in_views, gathered
from open_tunit.training.plan import FEWEST_PER_DOMAIN, Plan, make_plan
from open_tunit.training.steps.descent import NotFiniteError
from open_tunit.training.steps.graphs import Steps
from open_tunit.training.steps.state import State, full, new_state
from open_tunit.training.steps.step import Step

COUNTS = tuple(range(2, 13))
"""Numbers of domains that are tried unless others are asked for."""
SAMPLE, CHUNK = 2048, 128
VIEWS = 4
"""Views of each image that the plain one is compared with."""
LENGTH = 1.5
"""Steps of E, in units of those before balanced prototypes: too few merge what they have not told apart yet."""
SMALLEST = 1e-6
PRICE = 2 / 3
"""Share of log K, the most information of K clusters, that is subtracted; chosen on critters of seeds 110 to 113."""
PRETRAINED_PRICE = 4 / 5
"""The same for a pretrained trunk's features, whose clusters agree more; chosen on fruits and cats, docs/domains.md."""
BAR, LINES = 20, 10
"""Characters of a full bar, and lines of progress on the way."""

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """What the number of domains was decided by."""

    counts: tuple[int, ...]
    information: tuple[float, ...]
    """Mutual information, in nats, between the clusters of images and of their views; at most log K."""
    seconds: float
    price: float = PRICE

    @property
    def scores(self) -> tuple[float, ...]:
        """The information beyond the price of K clusters, price * log K."""
        return tuple(
            value - self.price * math.log(count) for count, value in zip(self.counts, self.information, strict=True)
        )

    @property
    def chosen(self) -> int:
        """The number with the best score, the smallest of several."""
        return self.counts[int(np.argmax(self.scores))]

    def lines(self) -> list[str]:
        """The curve as text, one line per number; the longest bar is the best score."""
        low, high = min(self.scores), max(self.scores)
        return [
            f"{count:3d} domains  information {value:.3f}  score {score:+.3f}  "
            f"{'#' * (1 + round(BAR * (score - low) / max(high - low, SMALLEST)))}"
            + ("  <- chosen" if count == self.chosen else "")
            for count, value, score in zip(self.counts, self.information, self.scores, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write FOLDER/domains.json."""
        folder.mkdir(parents=True, exist_ok=True)
        values = {"chosen": self.chosen, **dataclasses.asdict(self), "scores": self.scores}
        write_text_atomic(folder / CURVE, json.dumps(values, indent=1) + "\n")


def count_domains(
    plan: Plan,
    batches: Batches,
    *,
    half: bool,
    counts: Sequence[int] = COUNTS,
    progress: Progress | None = None,
    group: Group = ALONE,
) -> Curve:
    """Train an E for LENGTH times the steps before prototypes, and find how many domains its codes show.

    A pretrained trunk shows them at once. `progress` gets the step (there, the image) and the number of them. Raises
    ConfigError for settings without shape codes, and for numbers that the images cannot fill; NotFiniteError as
    training does.
    """
    began = time.perf_counter()
    fitting, seed = group.each(lambda: _checked(plan, counts, len(batches.indices))), plan.config.seed
    state = None if plan.recipe.pretrained else _learn_shapes(plan, batches, half, progress, group)

    def curve() -> Curve:
        points, price = None, PRICE
        if state is None:
            codes, viewed = codes_in_views(batches, plan, rng(seed, Stream.DOMAIN_COUNT, 0), progress)
            points, price = gathered(F.normalize(codes, dim=1)), PRETRAINED_PRICE
        else:
            codes, viewed = shape_codes(state, batches, seed)
        generator = rng(seed, Stream.DOMAIN_COUNT, 1)
        information = tuple(information_at(codes, viewed, count, generator, points) for count in fitting)
        seconds = round(time.perf_counter() - began, 1)
        return Curve(counts=fitting, information=information, seconds=seconds, price=price)

    return group.first(curve)


def with_counted_domains(plan: Plan, batches: Batches, *, half: bool, console: Console, group: Group = ALONE) -> Plan:
    """`plan` with the number of domains that the images show; prints the curve and writes it to OUT/domains.json.

    Raises what `count_domains` raises.
    """
    curve = _shown(plan, batches, COUNTS, half, console, group)
    group.first(lambda: curve.save(Path(plan.config.out)))
    return plan.replace({"model.domains": curve.chosen})


def sweep(config: Config, counts: Sequence[int], *, console: Console) -> Curve:
    """The curve of a data set without training on it further; prints it.

    Raises what opening the data, `choose_device` and `count_domains` raise.
    """
    device = choose_device(config.device)
    dataset = open_dataset(config.data, size=config.model.size, seed=config.seed, cache=config.cache)
    for finding in by_reason("left out", dataset.unreadable):
        print_warning(console, finding.line())
    plan = make_plan(config, dataset)
    train = dataset.indices("train")
    batches = Batches(dataset.images, dataset.labels, train, seed=config.seed, view=plan.views, device=device)
    return _shown(plan, batches, counts, use_half(config.precision, device), console)


def search_share(config: Config) -> float:
    """The time that finding the number of domains takes, as a share of the training's.

    0 where it is given, and with a pretrained trunk, where it is seconds and does not grow with the training.
    """
    if not config.auto_domains or RECIPES[config.recipe].pretrained:
        return 0.0
    return LENGTH * config.training.guiding_share * (config.training.prototypes_start or 1.0)


def information_at(
    codes: Tensor, viewed: Tensor, count: int, generator: np.random.Generator, points: Tensor | None = None
) -> float:
    """Mutual information, in nats, of the clusters of images and of their views; `count` clusters by k-means.

    codes (N, d), viewed (V, N, d): the same images in V other views. The clusters are found in the images' codes, or in
    unit-length `points` (N, d) that stand for them; the mean over the views.
    """
    middle = codes.mean(dim=0)
    points = F.normalize(codes - middle, dim=1) if points is None else points
    centres = kmeans(points, count, generator)
    member = in_float64(F.one_hot((points @ centres.T).argmax(dim=1), count))  # (N, K)
    others = F.normalize(viewed - middle, dim=2) @ centres.T
    others = in_float64(F.one_hot(others.argmax(dim=2), count))  # (V, N, K)
    return -float(losses.joint_information_loss(member.T @ others).mean())


@torch.no_grad()
def shape_codes(state: State, batches: Batches, seed: int) -> tuple[Tensor, Tensor]:
    """Shape codes of up to SAMPLE training images (N, d), and of VIEWS domain views of each (VIEWS, N, d).

    By the momentum copy with the batch statistics that it trains with, as balanced prototypes begin.
    """
    generator = rng(seed, Stream.DOMAIN_COUNT, 0)
    chosen = generator.permutation(batches.indices)[:SAMPLE]
    seen = views.in_views(batches.in_parts(chosen, CHUNK), (views.domain_view,) * VIEWS, generator, batches.view)
    codes = torch.cat([torch.stack([full(state.E_ema(x).shape) for x in part]) for part in seen], dim=1)
    return codes[0], codes[1:]


def _shown(
    plan: Plan, batches: Batches, counts: Sequence[int], half: bool, console: Console, group: Group = ALONE
) -> Curve:
    began = time.perf_counter()

    def progress(step: int, steps: int) -> None:
        if step == steps or step % max(1, steps // LINES) == 0:
            left = (time.perf_counter() - began) / step * (steps - step)
            what = "image" if plan.recipe.pretrained else "step"
            print_line(console, f"finding the number of domains: {what} {step} of {steps}, {left:.0f} s left")

    curve = count_domains(plan, batches, half=half, counts=counts, progress=progress, group=group)
    if curve.counts[-1] < max(counts):
        print_warning(
            console,
            f"no more than {curve.counts[-1]} domains are tried: each needs {FEWEST_PER_DOMAIN} training images",
        )
    for line in curve.lines():
        print_line(console, line)
    return curve


def _learn_shapes(plan: Plan, batches: Batches, half: bool, progress: Progress | None, group: Group) -> State:
    plan = dataclasses.replace(plan, supervision="none")
    alone = _steps_before_prototypes(plan)
    state, step = new_state(plan, batches.device), Step(plan, half, group)
    take = Steps.on(batches.device, group=group)
    steps = round(LENGTH * alone)
    for number in range(steps):
        phase = dataclasses.replace(plan.phase(min(number, alone - 1)), learn_domains=False)
        take(step, state, batches.batch(number, plan.batch_size(phase)), phase)
        if progress is not None:
            progress(number + 1, steps)
    if not state.is_finite():
        raise NotFiniteError(f"weights are not finite after {steps} steps of counting domains: lower the learning rate")
    return state


def _steps_before_prototypes(plan: Plan) -> int:
    return plan.domains_start or plan.joint_start


def _checked(plan: Plan, counts: Sequence[int], images: int) -> tuple[int, ...]:
    """The numbers in question that leave every domain enough images. Raises ConfigError without any, or shape codes."""
    if not plan.recipe.pretrained:
        name, unlabelled = plan.recipe.name, dataclasses.replace(plan, supervision="none")
        require(
            plan.recipe.shape_weight > 0,
            f"the number of domains is found by shape codes, and recipe {name} has none; take --preset cpu",
        )
        require(
            _steps_before_prototypes(unlabelled) > 0,
            "the number of domains is found while E learns alone: training.joint_start must be above 0",
        )
    return _fitting(counts, images)


def _fitting(counts: Sequence[int], images: int) -> tuple[int, ...]:
    """The numbers in question that leave every domain enough images."""
    fitting = tuple(count for count in sorted(set(counts)) if count >= 2 and count * FEWEST_PER_DOMAIN <= images)
    if not fitting:
        raise ConfigError(
            f"{images} training images are too few to find a number of domains among {min(counts)} to {max(counts)}: "
            f"each needs {FEWEST_PER_DOMAIN}"
        )
    return fitting
