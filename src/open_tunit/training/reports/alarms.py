"""Label-free symptoms of a run that fails; a sentence where one crosses its limit.

Measured at reports, on fixed training images and the model that users would get. The limits lie between what good and
spoilt critters runs showed (docs/domains.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from open_tunit.data import views
from open_tunit.media import images
from open_tunit.model import TUNIT
from open_tunit.rng import rng
from open_tunit.training.plan import Phase, Plan

LOOKED_AT, CHUNK = 512, 64
"""Training images whose domains are looked at."""
SOURCES, REFERENCES = 8, 8
"""Training images that are redrawn, each source after each reference."""
FEWEST_MEMBERS = 8
"""Images that a domain must have begun with to be followed."""
GENERATOR_GRACE = 0.1
"""Share of G's steps before its alarms are measured: a G that has just begun ignores everything."""
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Alarm:
    """One number, and what it means on the wrong side of its limit."""

    limit: float
    rings_above: bool
    sentence: str

    def rings(self, value: float) -> bool:
        """Whether `value` is on the wrong side."""
        return value > self.limit if self.rings_above else value < self.limit


ALARMS = {
    "empty_domain": Alarm(
        0.1,
        False,
        "the smallest domain is nearly empty: it has {value:.2f} of an even share of images; fewer --domains, or auto, "
        "may fit",
    ),
    "one_domain": Alarm(
        0.9,
        True,
        "one domain has {value:.0%} of the images, and there is little to translate between; more steps of E, or "
        "another --domains, may part them",
    ),
    "merged_domains": Alarm(
        0.5,
        True,
        "two domains have become one: {value:.0%} or more of each are in the same domain now, and translations between "
        "them keep the source's look; a longer guiding phase or fewer --domains may hold them",
    ),
    "unstable_labels": Alarm(
        0.3,
        True,
        "pseudo labels are unstable: {value:.0%} of the images change their domain when turned, cropped or recoloured",
    ),
    "ignored_style": Alarm(
        0.1,
        False,
        "the style code is ignored: translations of one source differ {value:.2f} times as much as their references",
    ),
    "copied_content": Alarm(
        0.5,
        True,
        "the generator copies the reference: {value:.0%} of the translations have its outlines, not the source's",
    ),
}


@dataclasses.dataclass
class Watch:
    """Measures a run's alarms; remembers in which domain each image was when the domains began."""

    pixels: np.ndarray
    """(N, S, S, 3) uint8 training images, the same over the whole run."""
    first: list[int] | None = None
    """Their domains at the first report after the domains began; None before it. A checkpoint keeps it."""
    frozen: tuple[Labels, Labels] | None = None
    """Their domains, and those of their views, once they are frozen; None before it."""

    def measure(self, model: TUNIT, plan: Plan, phase: Phase) -> dict[str, float]:
        """The numbers that mean something in this phase, by name."""
        values: dict[str, float] = {}
        if phase.learn_domains and plan.supervision != "all":
            seen = self.frozen or domains_in_views(model, self.pixels[:LOOKED_AT], plan.views)
            self.frozen = seen if phase.freeze_domains else None
            labels, viewed = seen
            self.first = self.first or labels.tolist()
            values |= domain_alarms(labels, viewed, np.array(self.first), model.config.domains)
        grace = GENERATOR_GRACE * (plan.steps - plan.joint_start)
        if phase.train_generator and phase.generator_steps >= grace:
            values |= generator_alarms(model, self.pixels)
        return values


@torch.inference_mode()
def domains_in_views(model: TUNIT, pixels: np.ndarray, view: views.Views) -> tuple[Labels, Labels]:
    """The domains (N,) of images (N, S, S, 3) uint8, and those of one domain view of each: the same at every report."""
    device = model.domain_styles.device
    parts = (images.from_uint8(pixels[i : i + CHUNK]).to(device) for i in range(0, len(pixels), CHUNK))
    seen = views.in_views(parts, (views.domain_view,), rng(0), view)
    labels = torch.cat([torch.stack([model.domains(x).argmax(dim=1) for x in part]) for part in seen], dim=1)
    plain, viewed = labels.cpu().numpy()
    return plain, viewed


def domain_alarms(labels: Labels, viewed: Labels, first: Labels, count: int) -> dict[str, float]:
    """Four numbers from the domains (N,) of images now, of their views, and of the images when domains began.

    empty_domain: the smallest of `count` domains' share of an even one, 0 to 1. one_domain: the largest one's share of
    all images. merged_domains: of the two first domains that share one now, the share of each that does, 0 to 1.
    unstable_labels: share of images whose view is in another domain.
    """
    sizes = np.bincount(labels, minlength=count)
    return {
        "empty_domain": int(sizes.min()) * count / len(labels),
        "one_domain": int(sizes.max()) / len(labels),
        "merged_domains": _merged(first, labels, count),
        "unstable_labels": float((labels != viewed).mean()),
    }


@torch.inference_mode()
def generator_alarms(model: TUNIT, pixels: np.ndarray) -> dict[str, float]:
    """ignored_style and copied_content of a model on training images (N, S, S, 3) uint8.

    ignored_style: mean absolute difference of one source's translations after two references, in units of the
    references' own. copied_content: share of the translations that are more like the reference than the source: by the
    cosine of outlines (gradient magnitudes) between what a translation has and others after its reference have
    not, and what its source has and other sources have not; against the same of its reference.
    """
    x = images.from_uint8(torch.from_numpy(pixels[: SOURCES + REFERENCES])).to(model.domain_styles.device)
    sources, references = x.chunk(2)
    if not len(sources) or not len(references):
        return {}
    drawn = model.grid(sources, references)  # (M, N, 3, S, S)
    change = (drawn - drawn.roll(1, dims=1)).abs().mean()
    wanted = (references - references.roll(1, dims=0)).abs().mean().clamp(min=1e-6)
    return {"ignored_style": float(change / wanted), "copied_content": _copied(sources, references, drawn)}


def sentences(values: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """A sentence for each alarm that rings now and did not ring at the report before."""
    return [
        f"{name}: {ALARMS[name].sentence.format(value=value)}"
        for name, value in values.items()
        if ALARMS[name].rings(value) and not (name in before and ALARMS[name].rings(before[name]))
    ]


def _merged(first: Labels, labels: Labels, count: int) -> float:
    """The largest share s such that one domain holds at least s of each of two first domains."""
    table = np.zeros((count, count))
    np.add.at(table, (first, labels), 1)
    sizes = table.sum(axis=1)
    shares = table[sizes >= FEWEST_MEMBERS] / sizes[sizes >= FEWEST_MEMBERS, None]  # (first domains, domains)
    return float(np.sort(shares, axis=0)[-2].max()) if len(shares) > 1 else 0.0


def _copied(sources: Tensor, references: Tensor, drawn: Tensor) -> float:
    outlines = _outlines(drawn.flatten(0, 1)).unflatten(0, drawn.shape[:2])  # (M, N, d)
    of_sources, of_references = _outlines(sources), _outlines(references)
    like_source = F.cosine_similarity(_own(outlines, 0), _own(of_sources, 0)[:, None], dim=2)
    like_reference = F.cosine_similarity(_own(outlines, 1), _own(of_references, 0)[None], dim=2)
    return float((like_reference > like_source).float().mean())


def _own(outlines: Tensor, dim: int) -> Tensor:
    """What is not shared along the dimension."""
    return outlines - outlines.mean(dim=dim, keepdim=True)


def _outlines(x: Tensor) -> Tensor:
    """(N, d) gradient magnitudes of the images' grey values, on half the grid, each image's sum 1."""
    grey = F.avg_pool2d(x.mean(dim=1, keepdim=True), 2)  # (N, 1, S / 2, S / 2)
    across = grey[..., 1:, 1:] - grey[..., 1:, :-1]
    down = grey[..., 1:, 1:] - grey[..., :-1, 1:]
    strength = (across.square() + down.square()).sqrt().flatten(1)
    return strength / strength.sum(dim=1, keepdim=True).clamp(min=1e-6)
