"""What each part of the preset `photos` is worth: so many steps from the start, with one of them changed at a time.

    python experiments/photos_ablation.py FOLDER --domains 6 --steps 400 --features NETWORK.ts [--rows ROW ...]

With --minutes each has so long, in place of steps. One run and one line of figures a row, in --out; rows that are there
are not run again. The table at the end is of all that exist. Parts that are no setting are changed by putting another
in their place for the row.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from fork import parsed
from photos_fork import FIGURES, told
from torch import Tensor, nn

from open_tunit import Config, losses, train
from open_tunit.data import views
from open_tunit.data.batches import Batches
from open_tunit.evaluation.protocol import Asked
from open_tunit.evaluation.run import evaluate_run
from open_tunit.networks import backbone, projected
from open_tunit.networks.backbone import LEVEL_CHANNELS, Backbone
from open_tunit.networks.pretrained_guiding import PretrainedGuiding, resized
from open_tunit.networks.projected import LEVELS, ProjectedDiscriminator, Projection
from open_tunit.settings.recipes import RECIPES
from open_tunit.training.fitting import pretrained
from open_tunit.training.plan import Plan
from open_tunit.training.steps import state

ENLARGED = 128
"""Side at which D sees pictures in the row that enlarges them for it."""
VIEWS, LEARNED_STEPS, LEARNED_BATCH, LEARNED_RATE = 3, 1500, 256, 1e-3
"""Heads that learn: augmented views of each picture, steps, pictures of a step, Adam's rate."""
TEMPERATURE = 0.07
Patch = contextlib.AbstractContextManager[Any]


class Unmixed(Projection):
    """Levels projected each for itself."""

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """(N, C, H, W) each -> (N, width, H, W) each."""
        with mock.patch.object(projected.F, "interpolate", return_value=torch.zeros(())):
            return super().forward(levels)


class AsTheyAre(Projection):
    """Levels standardised, and not projected."""

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """(N, C, H, W) each -> the same."""
        return [
            (x - self.get_buffer(f"mean{level}")[:, None, None]) / self.deviations[level][:, None, None]
            for level, x in enumerate(levels[:LEVELS])
        ]


class OnUnmixed(ProjectedDiscriminator):
    def __init__(self, domains: int, **given: Any) -> None:
        super().__init__(domains, **given)
        self.projection.__class__ = Unmixed


class OnFeatures(ProjectedDiscriminator):
    def __init__(self, domains: int, **given: Any) -> None:
        super().__init__(domains, **given)
        self.projection.__class__ = AsTheyAre
        self.heads = nn.ModuleList(
            projected._head(width, LEVELS - 1 - level, domains) for level, width in enumerate(LEVEL_CHANNELS[:LEVELS])
        )


class OnSome(ProjectedDiscriminator):
    """Heads of some levels alone; projections mix what is deeper into them."""

    heard: tuple[int, ...] = ()

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """As ProjectedDiscriminator, of the levels `heard`."""
        mixed = self.projection(levels)
        return [self.heads[level](mixed[level]).flatten(2) for level in self.heard]


class OnFirst(OnSome):
    heard = (0, 1)


class OnLast(OnSome):
    heard = (2, 3)


def discriminator(kind: type[ProjectedDiscriminator]) -> Patch:
    return mock.patch.object(state, "ProjectedDiscriminator", kind)


def enlarged() -> Patch:
    """The trunk sees no picture smaller than ENLARGED pixels: D's features, and those of the reconstruction."""
    plain = Backbone.forward
    return mock.patch.object(
        backbone.Backbone, "forward", lambda self, x: plain(self, resized(x, max(x.shape[-1], ENLARGED)))
    )


@contextlib.contextmanager
def learned(domains_too: bool) -> Iterator[None]:
    """E's heads learn on the frozen trunk: the style code by InfoNCE, the domains if wanted by mutual information."""
    fit = pretrained._fit

    def fit_and_learn(E: PretrainedGuiding, features: Tensor, colours: Tensor, batches: Batches, plan: Plan) -> None:
        fit(E, features, colours, batches, plan)
        learn(E, batches, plan, domains_too=domains_too)

    with mock.patch.object(pretrained, "_fit", fit_and_learn):
        yield


def learn(E: PretrainedGuiding, batches: Batches, plan: Plan, *, domains_too: bool) -> None:
    """The paper's objectives of E, at the recipe's weight, on features of views: (1 + VIEWS, N, D), computed once.

    The style head begins at the fitted one, the domain head anew. Style codes keep their length.
    """
    generator = np.random.default_rng(plan.config.seed)
    changes = (views.augmented_view,) * VIEWS
    seen = []
    with torch.no_grad():
        for parts in views.in_views(batches.in_parts(batches.indices, 32), changes, generator, batches.view):
            pairs = [E.features(x) for x in parts]
            seen.append([torch.stack(kind) for kind in zip(*pairs, strict=True)])
    features, colours = (torch.cat([part[kind] for part in seen], dim=1) for kind in (0, 1))
    length = E.read(features[0], colours[0]).style.std()
    heads = [E.style_head, E.palette_head]
    if domains_too:
        nn.init.normal_(E.domain_head.weight, std=0.01)
        nn.init.zeros_(E.domain_head.bias)
        heads.append(E.domain_head)
    weights = [weight for head in heads for weight in head.parameters()]
    optimiser = torch.optim.Adam(weights, lr=LEARNED_RATE)
    with torch.enable_grad():
        for _ in range(LEARNED_STEPS):
            rows = torch.from_numpy(generator.permutation(features.shape[1])[:LEARNED_BATCH])
            one, other = generator.permutation(1 + VIEWS)[:2]
            query, key = (E.read(features[view, rows], colours[view, rows]) for view in (one, other))
            code, key_code = F.normalize(query.style, dim=1), F.normalize(key.style, dim=1)
            loss = losses.info_nce(code, key_code, code[:0], temperature=TEMPERATURE, in_batch=True)
            if domains_too:
                loss = loss + plan.recipe.domain_weight * losses.mutual_information(query.logits, key.logits)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        now = E.read(features[0], colours[0]).style.std()
        for head in (E.style_head, E.palette_head):
            for weight in head.parameters():
                weight.mul_(length / now)


def content(change: Callable[[Tensor, Tensor], Tensor]) -> Patch:
    """What G's content encoder sees in training is changed further, by numbers (N, 4) that the view has drawn."""
    plain = views.content_view
    return mock.patch.object(
        views, "content_view", lambda x, numbers: change(plain(x, numbers), numbers.colours.flatten(1))
    )


def negatives(x: Tensor, drawn: Tensor) -> Tensor:
    """Every picture whose hue is turned backwards, as its negative."""
    return torch.where((drawn[:, 3] < 0)[:, None, None, None], -x, x)


def uneven_light(x: Tensor, drawn: Tensor) -> Tensor:
    """Brightness times a smooth random field, of 4 x 4 values from a quarter to 7 quarters."""
    seeds = (drawn[:, 0].double() * 1e9).long().tolist()
    fields = [torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    light = F.interpolate(0.25 + 1.5 * torch.stack(fields), size=x.shape[-2:], mode="bicubic").clamp(min=0.1)
    return ((x + 1) * light.to(x)).clamp(0, 2) - 1


def nothing() -> Patch:
    return contextlib.nullcontext()


ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "preset": ({}, {}, nothing),
    "cycle": ({"training.cycle_weight": 5.0}, {}, nothing),
    "no features of the reconstruction": ({"training.feature_weight": 0.0}, {}, nothing),
    "Adam": ({"training.optimizer": "adam"}, {}, nothing),
    "sources in their own colours": ({}, {"content_colour": False}, nothing),
    "no mismatched fakes": ({}, {"mismatched_fakes": False}, nothing),
    "levels not mixed": ({}, {}, lambda: discriminator(OnUnmixed)),
    "features not projected": ({}, {}, lambda: discriminator(OnFeatures)),
    "the first two heads": ({}, {}, lambda: discriminator(OnFirst)),
    "the last two heads": ({}, {}, lambda: discriminator(OnLast)),
    "half the sources as negatives": ({}, {}, lambda: content(negatives)),
    "sources under an uneven light": ({}, {}, lambda: content(uneven_light)),
    "D sees 128 px": ({}, {}, enlarged),
    "style code learned": ({}, {}, lambda: learned(domains_too=False)),
    "style code and domains learned": ({}, {}, lambda: learned(domains_too=True)),
}
"""Settings and fields of the recipe that differ from the preset's, and what takes a part's place."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--domains", type=int, default=6)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--minutes", type=float, help="of each row, in place of steps")
    parser.add_argument("--features", required=True, help="a network's file, as for tunit evaluate")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--set", nargs="*", default=[], help="settings of every row that differ from the preset's")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments/photos_ablation"))
    given = parser.parse_args()
    for name in given.rows:
        run = given.out / name.replace(" ", "_")
        if not (run / "told.json").exists():
            print(name, flush=True)
            figures = on_row(given, run, *ROWS[name])
            (run / "told.json").write_text(json.dumps(figures), encoding="utf-8")
    print("\n".join(table(given.out)))


def on_row(
    given: argparse.Namespace, run: Path, overrides: dict[str, Any], changes: dict[str, Any], patch: Any
) -> dict[str, float]:
    overrides = {"training.steps": given.steps, "model.domains": given.domains} | parsed(given.set) | overrides
    settings = {"overrides": overrides, "minutes": given.minutes, "report_every": 200}
    config = Config.preset("photos", data=given.folder, out=str(run), **settings)
    with patch():
        train(config, recipe=dataclasses.replace(RECIPES[config.recipe], **changes))
    figures = evaluate_run(run, asked=Asked(features=given.features, pairs=given.pairs))
    return told(figures, given.features) | {"seconds": figures["training_seconds"]}


def table(out: Path) -> list[str]:
    names = (*FIGURES, "seconds")
    lines = [f"| row | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for path in sorted(out.glob("*/told.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        lines.append(f"| {path.parent.name} | {' | '.join(f'{figures[name]:.3f}' for name in names)} |")
    return lines


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
