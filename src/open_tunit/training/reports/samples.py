"""The picture of every report: the same sources, references and domains over the whole run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from open_tunit.data.dataset import Dataset
from open_tunit.media import images
from open_tunit.model import TUNIT
from open_tunit.rng import rng

SHOWN = 6
EXAMPLES = 8
SHEET_COLUMNS = 12
CHUNK = 64
MEASURED = 2048
"""Training images that a report's typical styles are taken over."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Fixed images of a run, chosen by its seed."""

    sources: Tensor
    references: Tensor
    sheet: Tensor
    """Images sorted into domains while E learns alone."""
    measured: np.ndarray
    """(M, S, S, 3) uint8 training images for the domains' typical styles."""
    labels: np.ndarray
    """(M,) int64: their labels, -1 where unknown."""

    def examples(self) -> list[Image.Image]:
        """Pictures to go with the model, so that its page has some to show."""
        return [images.to_pil(image) for image in torch.cat([self.sources, self.references])[:EXAMPLES]]

    def measure(self, model: TUNIT, *, nearest: bool = False) -> None:
        """Set the model's domain styles: as `take_domain_styles`."""
        model.measure_domains(self.batches(model.domain_styles.device), nearest=nearest)

    def batches(self, device: torch.device) -> Iterator[Tensor]:
        """The measured images in parts of nearly equal size, (N, 3, S, S) in [-1, 1]."""
        for part in np.array_split(self.measured, -(-len(self.measured) // CHUNK)):
            yield images.from_uint8(torch.from_numpy(part)).to(device)

    def domain_sheet(self, model: TUNIT) -> Tensor:
        """One row per domain with the first of its images: (K, SHEET_COLUMNS, 3, S, S)."""
        labels = model.domains(self.sheet).argmax(dim=1)
        rows = torch.ones(model.config.domains, SHEET_COLUMNS, *self.sheet.shape[1:])
        for domain in range(model.config.domains):
            members = self.sheet[labels == domain][:SHEET_COLUMNS]
            rows[domain, : len(members)] = members.cpu()
        return rows

    def translations(self, model: TUNIT) -> Tensor:
        """First row: blank, references, blank, one blank per domain. Then per source: itself, translations to
        every reference, a blank, translations to every domain's typical style.
        """
        filled = [k for k in range(model.config.domains) if model.domain_counts[k]]
        blank = torch.ones_like(self.sources[:1]).cpu()
        to_references = model.grid(self.sources, self.references).cpu()
        head = [blank, self.references.cpu(), *[blank] * (1 + len(filled))]
        rows = [torch.cat(head)]
        to_domains = [model.translate(self.sources, domain=k).cpu() for k in filled]
        for index in range(len(self.sources)):
            means = [translated[index : index + 1] for translated in to_domains]
            rows.append(torch.cat([self.sources[index : index + 1].cpu(), to_references[index], blank, *means]))
        return torch.stack(rows)


def choose_samples(dataset: Dataset, *, seed: int, device: torch.device) -> Samples:
    """Samples from validation images (training ones where those are too few)."""
    pixels, train, held_out = dataset.images, dataset.indices("train"), dataset.indices("val")
    generator = rng(seed)
    pool = held_out if len(held_out) >= 2 * SHOWN else train
    pool = generator.permutation(pool)
    shown = np.resize(pool, 2 * SHOWN)
    measured = generator.permutation(train)[:MEASURED]
    places = np.sort(measured), np.argsort(np.argsort(measured))  # read in order, shown in random order

    def tensor(indices: np.ndarray) -> Tensor:
        return images.from_uint8(torch.from_numpy(np.ascontiguousarray(pixels[indices]))).to(device)

    return Samples(
        sources=tensor(shown[:SHOWN]),
        references=tensor(shown[SHOWN:]),
        sheet=tensor(pool[:256]),
        measured=np.ascontiguousarray(pixels[places[0]])[places[1]],
        labels=dataset.labels[measured],
    )
