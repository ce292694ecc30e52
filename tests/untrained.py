"""Models with random weights that tell pictures apart all the same."""

from typing import TypeVar

import torch

from open_tunit import TUNIT
from open_tunit.settings.config import Model

Some = TypeVar("Some", bound=TUNIT)
SMALL = Model(size=32, domains=3, style_dim=8, guiding_width=4, generator_width=4, style_mlp_width=16)


def untrained(shapes: Model = SMALL, kind: type[Some] = TUNIT) -> Some:  # type: ignore[assignment]
    """A model of 3 domains, the last one empty, whose style codes and domains differ clearly between pictures."""
    torch.manual_seed(0)
    model = kind(shapes).eval()
    with torch.no_grad():
        for head in (model.E.domain_head, model.E.style_head):
            head.weight.normal_(std=3.0)
    model.domain_styles.normal_()
    model.domain_counts.copy_(torch.tensor([4, 7, 0]))
    return model
