"""The pictures, films, references and domains that commands are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from open_tunit.model import TUNIT


def named_files(place: Path, more_suffixes: tuple[str, ...] = ()) -> list[tuple[str, Path]]:
    """Names and files: the picture `place`, or those in the folder, sorted, also with `more_suffixes`.

    A name is the relative path without its suffix, unless that is all that tells two apart.
    """
    found = list(_files(place, more_suffixes))
    plain = [Path(name).with_suffix("").as_posix() for name, _ in found]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [(name if short in twice else short, path) for short, (name, path) in zip(plain, found, strict=True)]


def domain_codes(words: tuple[str, ...], network: TUNIT) -> list[tuple[str, Tensor]]:
    """File names and mean styles (1, style_dim) of domains given by number or name, or of `all` that have one."""
    numbers: list[int] = []
    for word in words:
        if word == "all":
            numbers += [k for k in range(network.config.domains) if network.domain_counts[k]]
        else:
            numbers.append(network.naming.number(word))
    if not numbers:
        raise ValueError("the model has no mean styles; give --reference")
    return [(network.naming.label(k), network.domain_style(k)[None]) for k in numbers]


def refuse_taken(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise ValueError when one of these files exists, unless they may be replaced."""
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not overwrite:
        raise ValueError(f"{taken} exists already; give --overwrite or another --out")


def _files(place: Path, more_suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    if not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist")
        yield place.name, place
        return
    from open_tunit.data.scan import SUFFIXES, scan

    for name in scan(place, SUFFIXES + more_suffixes):
        yield name, place / name
