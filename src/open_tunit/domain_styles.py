"""What is known of the domains: their names, how many images each had, and how the style codes of these are spread."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from open_tunit.device import alike, in_float64
from open_tunit.metrics.covariance import shrunk_covariance, symmetric_root
from open_tunit.model_files.naming import Naming
from open_tunit.rng import Stream, rng
from open_tunit.settings.config import Model

SPREADS, TYPICAL = "domain_spreads", "domain_typical"
"""What model folders of earlier versions lack, and what those of some models do."""


class DomainStyles(nn.Module):
    """K domains' mean, spread and typical styles, as buffers, and their naming."""

    domain_styles: Tensor
    """(K, style_dim) mean style codes."""
    domain_counts: Tensor
    """(K,) int64: training images that they are of."""
    domain_spreads: Tensor | None
    """(K, style_dim, style_dim) symmetric roots of the codes' shrunk covariances; None where they were not measured."""
    domain_typical: Tensor | None
    """(K, style_dim) codes of the images nearest to the means; None where the means are typical themselves."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("domain_styles", torch.zeros(config.domains, config.style_dim))
        self.register_buffer("domain_counts", torch.zeros(config.domains, dtype=torch.int64))
        self.register_buffer(SPREADS, None)
        self.register_buffer(TYPICAL, None)
        self.naming = Naming.plain(config.domains)

    @property
    def spreads_shape(self) -> tuple[int, int, int]:
        """Of `domain_spreads`."""
        return self.config.domains, self.config.style_dim, self.config.style_dim

    @property
    def typical_styles(self) -> Tensor:
        """(K, style_dim): what stands for each domain where there is no reference."""
        return self.domain_styles if self.domain_typical is None else self.domain_typical

    def take_domain_styles(self, styles: Tensor, domains: Tensor, *, nearest: bool = False) -> None:
        """Set each domain's mean style, spread and count from style codes (N, style_dim) and domains (N,) of images.

        With `nearest` a domain's typical style is that of the image nearest to the mean, else the mean: that of many
        unlike whitened codes is far inside them, where G has seen nothing.
        """
        domains = domains.to(styles.device)
        member = nn.functional.one_hot(domains, self.config.domains)  # (N, K)
        counts = member.sum(dim=0)
        sums = in_float64(member.T) @ in_float64(styles)
        self.domain_styles.copy_(alike(sums / in_float64(counts).clamp(min=1)[:, None], self.domain_styles))
        self.domain_counts.copy_(counts)
        spreads, typical = torch.zeros(self.spreads_shape), self.domain_styles.clone()
        for domain in domains.unique().tolist():
            codes = styles[domains == domain]
            spreads[domain] = symmetric_root(shrunk_covariance(codes.cpu()))
            typical[domain] = codes[(codes - self.domain_styles[domain]).norm(dim=1).argmin()]
        self.domain_spreads = spreads.to(self.domain_styles)
        self.domain_typical = typical if nearest else None

    def domain_style(self, domain: int | str) -> Tensor:
        """The typical style (style_dim,) of a domain; ValueError when there is no such domain or it is empty."""
        return self.typical_styles[self._filled(domain)]

    def _filled(self, domain: int | str) -> int:
        number = self.naming.number(domain)
        if not self.domain_counts[number]:
            raise ValueError(f"domain {domain} has no typical style: no training image was sorted into it")
        return number

    def sample_styles(self, domain: int | str, count: int, *, seed: int = 0) -> Tensor:
        """`count` style codes (count, style_dim) of a domain, drawn from the Gaussian of its training images' codes.

        The n-th follows from the seed, the domain's number and n alone. Raises ValueError as `domain_style`, for a
        count below 1, a seed below 0, and where the model's folder was written before spreads were measured.
        """
        number = self._filled(domain)
        if count < 1:
            raise ValueError(f"samples is {count}; at least 1 is needed")
        if seed < 0:
            raise ValueError(f"seed is {seed}; it cannot be negative")
        if self.domain_spreads is None:
            raise ValueError(
                "this model has typical styles, but no spread to sample styles from: an earlier version saved it; "
                "train it on for some steps, or give a reference"
            )
        noise = rng(seed, Stream.STYLES, number).standard_normal((count, self.config.style_dim))
        mean, spread = self.domain_styles[number], self.domain_spreads[number]
        return mean + torch.from_numpy(noise).to(mean) @ spread

    def name_domains(self, naming: Naming) -> None:
        """Call the domains by the user's names, and count those that are merged as one from now on."""
        self.naming = naming
        means, counts = naming.merged_means(self.domain_styles, self.domain_counts)
        if self.domain_spreads is not None:
            self.domain_spreads.copy_(self._merged_spreads(self.domain_spreads, means))
        if self.domain_typical is not None:
            self.domain_typical.copy_(self.domain_typical[naming.largest_parts(self.domain_counts)])
        self.domain_styles.copy_(means)
        self.domain_counts.copy_(counts)

    def _merged_spreads(self, spreads: Tensor, means: Tensor) -> Tensor:
        """The spreads where the domains have the `means` of their merges: within the parts, and between them."""
        merged, spreads, means, counts = spreads.clone(), spreads.cpu(), means.cpu(), self.domain_counts.cpu()
        heads = torch.tensor(self.naming.heads)
        for head in (k for k in heads.unique().tolist() if (heads == k).sum() > 1):
            parts = heads == head
            shares = counts[parts].double() / counts[parts].sum().clamp(min=1)
            within = spreads[parts].double() @ spreads[parts].double()
            apart = (self.domain_styles.cpu()[parts] - means[head]).double()
            covariance = (shares[:, None, None] * (within + apart[:, :, None] * apart[:, None, :])).sum(dim=0)
            merged[head] = alike(symmetric_root(covariance), merged)
        return merged
