"""Recipes: named, frozen methods. A preset is a recipe with sizes, weights and a budget (presets.py). Torch-free."""

from __future__ import annotations

import dataclasses
from typing import Literal

DomainObjective = Literal["mutual_information", "balanced_prototypes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a method does, whatever the sizes. The defaults are the paper's; docs/method.md has a line for each field.

    An experiment takes one back by `dataclasses.replace(recipe, ...)` and gives the result to `train`.
    """

    name: str

    domain_objective: DomainObjective = "mutual_information"
    """What makes the domains: IIC's mutual information (the paper), or balanced prototypes (SwAV)."""
    domain_weight: float = 5.0
    """Weight of the domain objective beside the style contrast in E's loss."""
    early_style_weight: float = 1.0
    """Weight of the style contrast until the domain objective begins; 1 from then on."""
    shape_weight: float = 0.0
    """Weight of the shape contrast, between x and its recoloured view. The paper: none."""
    supervised_label_weight: float = 0.0
    """Weight of the cross-entropy when every image is labelled. The paper: 0, the domain head stays untrained."""
    pseudo_labels: Literal["online", "momentum"] = "online"
    """Which copy of E gives the pseudo label at which D is read: E itself (the paper), or its momentum copy."""
    contrast_in_batch: bool = False
    """The style contrast's negatives include the other keys of the batch, not the queue's alone."""
    normalize_contrast: bool = False
    """The style contrast compares L2-normalised codes."""
    translations_train_guiding: bool = True
    """The losses on translations reach E's weights where E encodes translations (the paper), not G's alone."""
    measure_statistics: bool = False
    """The averaged E's batch-norm statistics are computed on training images, not copied from E (published code)."""
    freeze_domains: bool = False
    """After its own phase E's trunk, heads and statistics are frozen; only the shallow-feature statistics' head (the
    palette) goes on learning with G, or the style head where there is none."""
    average_warmup: bool = False
    """The EMA's decay rises as (1 + t) / (10 + t), so that short runs have averages worth using."""
    plain_start: bool = False
    """AdaIN starts near plain instance norm: scales around 1, small style MLP. The paper: scales around 0."""
    pretrained: bool = False
    """E's trunk and D's features are those of a frozen ImageNet network; E is fitted to features, not trained."""
    pairs: bool = False
    """Where `pair_weight` is above 0, G is trained on pairs found in the folder (data/pairs.py), alone before the
    adversarial loss and beside it; with all labels E has its own phase too. The paper: no."""
    pairs_distrusted: float = 0.3
    """Similarity of pictures up to which their pair has weight 0."""
    pairs_trusted: float = 0.5
    """Similarity from which a pair has weight 1; on critters gaze agrees in .4 to .9 of the pairs below .4, and in .95
    to 1 of those above .5."""
    mismatched_fakes: bool = False
    """Real images at another domain's output count as fakes too; D's loss on fakes is the mean of the two."""
    adversarial_beta: float = 0.5
    """First beta of G's and D's Adam."""

    domain_colour: bool = False
    """The domain objective's view has any colours and a hidden patch. The paper: it is x+."""
    content_colour: bool = False
    """G's content encoder sees x in other colours, so that colours come from the style code."""
    translation_view: bool = False
    """E sees translations through x+'s geometry."""
    geometry: Literal["published", "continuous"] = "published"
    """How x+ moves: as published (shear along x, whole pixels, crops drawn until one fits), or continuously, sheared
    along both axes and with oversized crops cut to the picture."""
    outside: Literal["black", "reflect"] = "black"
    """What the affine view shows beyond the border."""


PAPER = Recipe(name="paper")
"""Baek et al. 2021, to the letter."""
OURS = Recipe(
    name="ours",
    domain_objective="balanced_prototypes",
    domain_weight=1.0,
    early_style_weight=0.2,
    shape_weight=1.0,
    supervised_label_weight=5.0,
    pseudo_labels="momentum",
    contrast_in_batch=True,
    normalize_contrast=True,
    translations_train_guiding=False,
    measure_statistics=True,
    freeze_domains=True,
    average_warmup=True,
    plain_start=True,
    pairs=True,
    mismatched_fakes=True,
    domain_colour=True,
    content_colour=True,
    translation_view=True,
    geometry="continuous",
    outside="reflect",
)
"""From scratch, in minutes; what the presets `cpu` and `default` share."""
PRETRAINED = dataclasses.replace(
    OURS,
    name="pretrained",
    pretrained=True,
    shape_weight=0.0,
    measure_statistics=False,
    translation_view=False,
    domain_colour=False,
    pairs_distrusted=0.0,
    adversarial_beta=0.0,
)
"""Photographs: EfficientNet-Lite0 as E's trunk, and a projected discriminator (Sauer et al. 2021) on its features."""
RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS, PRETRAINED)}
RecipeName = Literal["paper", "ours", "pretrained"]

_OF_A_TRAINED_E = frozenset(
    {
        "model.guiding_width", "model.guiding_depths", "model.projection_dim", "data.views.domain_colour",
        "training.joint_start", "training.guiding_share", "training.guiding_batch", "training.prototypes_start",
        "training.guiding_weight", "training.translation_style_weight", "training.translation_domain_weight",
        "training.patch_weight", "training.patch_full_steps", "training.r1_weight", "training.r1_every",
        "training.temperature", "training.queue", "training.guiding_learning_rate",
        "training.joint_guiding_learning_rate", "training.joint_guiding_full_steps",
    }
)  # fmt: skip
_OF_PAIRS = frozenset({"training.pair_steps", "training.pair_share", "training.pair_weight"})
_OF_A_FROZEN_TRUNK = frozenset({"model.trunk_side", "training.feature_weight"})


def without_effect(recipe: Recipe) -> frozenset[str]:
    """Dotted names of the settings that change nothing in a run of the recipe."""
    if recipe.pretrained:
        return _OF_A_TRAINED_E
    return _OF_A_FROZEN_TRUNK if recipe.pairs else _OF_A_FROZEN_TRUNK | _OF_PAIRS | {"data.views.domain_colour"}
