"""The styles that sources are redrawn in, under the names that results take from them."""

from __future__ import annotations

import dataclasses
import filecmp
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from open_tunit.model import TUNIT
from open_tunit.translation.folders import sampled_styles, styles_of, styles_of_domains
from open_tunit.translation.results import named_files

Failure = Callable[[ValueError | OSError], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Which styles are asked for: of references, of their neighbours, of a domain, or samples of it."""

    reference: Path | None = None
    """A picture, or a folder of them."""
    neighbours: int | None = None
    among: Path | None = None
    """The folder that neighbours are looked for in."""
    domain: int | str | None = None
    """A number, a name, or all."""
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.reference is None) == (self.domain is None):
            raise ValueError("translate needs a reference or a domain, and not both")
        if self.domain is None and self.samples is not None:
            raise ValueError(f"samples is {self.samples}, but there is no domain; styles are drawn from a domain")
        if (self.neighbours is None) != (self.among is None):
            raise ValueError("--neighbours N needs --among FOLDER, and --among FOLDER needs --neighbours N")
        if self.reference is None and self.neighbours is not None:
            raise ValueError(f"neighbours is {self.neighbours}, but there is no reference that they could be near to")

    def styles(self, model: TUNIT, *, left_out: Failure) -> dict[str, Tensor]:
        """Label -> style code (1, style_dim). What cannot be read goes to `left_out`, unless nothing else is there.

        Raises ValueError, FileNotFoundError.
        """
        if self.domain is not None:
            return domain_styles(model, self.domain, self.samples, self.seed, left_out=left_out)
        assert self.reference is not None
        if self.neighbours is not None and self.among is not None:
            return neighbour_styles(model, self.reference, self.among, self.neighbours, left_out=left_out)
        return reference_styles(model, self.reference, left_out=left_out)


def reference_styles(model: TUNIT, reference: Path, *, left_out: Failure) -> dict[str, Tensor]:
    """Label -> style code (1, style_dim) of each reference: a picture, or those of a folder.

    What cannot be read goes to `left_out`, unless nothing else is there. Raises ValueError, FileNotFoundError.
    """
    failed: list[ValueError] = []
    names = {path: name.replace("/", "-") for name, path in named_files(reference, left_out=failed.append)}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f"two references of {reference} would both be called {twice[0]}; rename one")
    styles = styles_of(model, names, left_out=failed.append)
    if not styles:
        raise failed[-1]
    for error in failed:
        left_out(error)
    return {names[path]: code for path, code in styles.items()}


def neighbour_styles(model: TUNIT, reference: Path, among: Path, count: int, *, left_out: Failure) -> dict[str, Tensor]:
    """Label -> style code of the `count` pictures of the folder `among` whose codes are nearest to each reference's.

    The reference itself, where it or a copy of its file lies in that folder, is none of them; distances are Euclidean.
    Raises ValueError for a count below 1 or above what the folder holds, and as `reference_styles`.
    """
    if count < 1:
        raise ValueError(f"neighbours is {count}; at least 1 is needed")
    wanted = torch.cat(list(reference_styles(model, reference, left_out=left_out).values()))  # (R, D)
    own = [path for _, path in named_files(reference)]
    found = reference_styles(model, among, left_out=left_out)
    paths = {name.replace("/", "-"): path for name, path in named_files(among)}
    pool = {name: code for name, code in found.items() if not _is_one_of(paths[name], own)}
    if len(pool) < count:
        raise ValueError(f"{among} has {len(pool)} pictures beside the references; neighbours is {count}")
    distances = torch.cdist(wanted, torch.cat(list(pool.values())))  # (R, P)
    nearest = distances.topk(count, largest=False).indices.flatten().tolist()
    names = list(pool)
    return {names[place]: pool[names[place]] for place in nearest}


def _is_one_of(path: Path, files: Sequence[Path]) -> bool:
    """Whether the file is one of these, or has the bytes of one."""
    return any(filecmp.cmp(path, each, shallow=False) for each in files)


def domain_styles(
    model: TUNIT, domain: int | str, samples: int | None, seed: int, *, left_out: Failure
) -> dict[str, Tensor]:
    """Label -> typical style of the domain, or of all; or its samples. Raises ValueError."""
    if samples is None:
        found = dict(styles_of_domains(model, (domain,)))
    else:
        found = dict(sampled_styles(model, domain, samples, seed=seed))
    empty = len(set(model.naming.heads)) - len(found) // (samples or 1)
    if domain == "all" and empty:
        left_out(ValueError(f"{empty} domain{'s have' if empty != 1 else ' has'} no images, and so no typical style"))
    return found
