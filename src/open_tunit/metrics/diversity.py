"""How much a source's translations to different references differ."""

from __future__ import annotations

from torch import Tensor

from open_tunit.device import in_float64
from open_tunit.metrics.distances import check_count


def diversity(features: Tensor) -> Tensor:
    """(N,) mean squared distance of the unit feature vectors over all pairs of R translations of N sources.

    `features` (N, R, d); the values lie in [0, 4]. LPIPS (Zhang et al. 2018) does this per position and layer with
    learned weights; here it is done on one vector per image of whatever network is given. Raises TooFewError for one
    reference.
    """
    references = features.shape[1]
    check_count("diversity", references, 2, "references per source")
    rows = in_float64(features)
    unit = rows / rows.norm(dim=2, keepdim=True).clamp(min=1e-12)
    cosine = unit @ unit.mT  # (N, R, R)
    others = cosine.sum(dim=(1, 2)) - cosine.diagonal(dim1=1, dim2=2).sum(dim=1)
    mean_cosine: Tensor = others / (references * (references - 1))
    return 2 - 2 * mean_cosine
