"""What the domains are called: the labels of training, and the user's names and merges of a folder's domains.yaml."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from open_tunit.device import alike, in_float64
from open_tunit.files import write_text_atomic
from open_tunit.model_files.places import NAMES
from open_tunit.settings.config import yaml_reason
from open_tunit.settings.conversion import ConfigError, require

LONGEST_NAME = 60
LARGEST_FILE = 2**17
"""Bytes of domains.yaml."""
RESERVED = ("all",)
"""Words that mean something else where a domain is expected."""


@dataclasses.dataclass(frozen=True)
class Naming:
    """The names of K domains, and which of them count as one. Numbers stay what they are."""

    names: tuple[str, ...]
    """K names; domains that are merged share theirs. A domain without a name has its number's."""
    heads: tuple[int, ...]
    """K numbers: the smallest of the domains that this one is merged with, itself where it is alone."""
    labels: tuple[str, ...] = ()
    """K names that the domains had before the user gave any: the labels of training. None where there were no labels.
    """

    @classmethod
    def plain(cls, count: int, labels: Sequence[str] = ()) -> Naming:
        """`count` domains called by their labels, or by their numbers where they have none."""
        return cls(tuple(labels or map(str, range(count))), tuple(range(count)), tuple(labels))

    @classmethod
    def of(cls, values: Mapping[Any, Any], count: int, *, where: str = NAMES, labels: Sequence[str] = ()) -> Naming:
        """From name -> number, or name -> numbers that become one domain; the others keep their labels.

        Raises ConfigError, calling the mapping `where`, for what is no name, no domain of `count`, named twice, or the
        label of another domain.
        """
        plain = cls.plain(count, labels)
        names, heads = list(plain.names), list(plain.heads)
        taken: dict[int, str] = {}
        for name, numbers in values.items():
            members = numbers if isinstance(numbers, list) else [numbers]
            _check(name, members, count, taken, where)
            for number in members:
                taken[number], names[number], heads[number] = name, name, min(members)
        for number in set(range(len(labels))) - taken.keys():
            require(names[number] not in values, f"{where}: {names[number]!r} is the label of domain {number}")
        return cls(tuple(names), tuple(heads), plain.labels)

    def number(self, domain: int | str) -> int:
        """The number that stands for a domain given by number or name. Raises ValueError when there is none."""
        count = len(self.names)
        if isinstance(domain, str) and domain in self.names:
            return self.heads[self.names.index(domain)]
        whole = domain.isdecimal() if isinstance(domain, str) else float(domain).is_integer()
        number = int(domain) if whole else -1
        if not 0 <= number < count:
            given = [name for k, name in enumerate(self.names) if name != str(k) and self.heads[k] == k]
            named = f" ({', '.join(given)})" if given else ""
            raise ValueError(f"domain is {domain}; this model has domains 0 to {count - 1}{named}")
        return self.heads[number]

    def label(self, number: int) -> str:
        """What files of a domain are called after: its name, or domainK where it has none."""
        name = self.names[number]
        return f"domain{name}" if name.isdecimal() else name

    def merged(self, probabilities: Tensor) -> Tensor:
        """(N, K) probabilities, those of merged domains added up at the smallest number and 0 elsewhere."""
        heads = torch.tensor(self.heads, device=probabilities.device)
        return torch.zeros_like(probabilities).index_add(1, heads, probabilities)

    def merged_means(self, means: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Domain means (K, d) over `counts` (K,) images, and the counts, with merged domains at the smallest number.

        A merged domain's mean weighs its parts by their counts; the parts are left with a count of 0.
        """
        rows, weights = in_float64(means), in_float64(counts)
        heads = torch.tensor(self.heads, device=rows.device)
        sums = torch.zeros_like(rows).index_add(0, heads, rows * weights[:, None])
        totals = torch.zeros_like(weights).index_add(0, heads, weights)
        merged = sums / totals.clamp(min=1)[:, None]
        alone = torch.bincount(heads, minlength=len(heads)) == 1
        return alike(torch.where(alone[:, None], rows, merged), means), alike(totals, counts)

    def largest_parts(self, counts: Tensor) -> list[int]:
        """For each of K domains over `counts` (K,) images the one, of those merged with it at its number, with most."""
        of_head = {head: [k for k, other in enumerate(self.heads) if other == head] for head in self.heads}
        return [max(of_head.get(k, [k]), key=lambda part: int(counts[part])) for k in range(len(self.heads))]

    def to_yaml(self) -> str:
        """The text of domains.yaml; empty where the user named nothing."""
        values: dict[str, int | list[int]] = {}
        for head in sorted(set(self.heads)):
            members = [number for number, other in enumerate(self.heads) if other == head]
            if len(members) > 1:
                values[self.names[head]] = members
            elif self.names[head] != (self.labels[head] if self.labels else str(head)):
                values[self.names[head]] = head
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if values else ""


def names_of_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """K different names of domains from K labels: the labels, changed only where they cannot be names.

    A label that is a number becomes label_9, unless it is its domain's own number.
    """
    names: list[str] = []
    for number, label in enumerate(labels):
        name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in label).strip()
        foreign = name.isdecimal() and name != str(number)
        if foreign or not name or name.startswith(".") or name in RESERVED:
            name = f"label_{name}"
        name = name[:LONGEST_NAME].strip()
        names.append(name if name not in names else f"{name[: LONGEST_NAME // 2].strip()}_{number}")
    return tuple(names)


def checked_labels(values: Any, count: int) -> tuple[str, ...]:
    """The labels of a config.json, K names of domains, or none. Raises ConfigError."""
    require(isinstance(values, list), f"labels is {_brief(values)}; expected a list of names")
    require(len(values) in (0, count), f"labels has {len(values)} names; expected one for each of {count} domains")
    for number, name in enumerate(values):
        _check(name, [number], count, {}, "labels")
    require(len(set(values)) == len(values), "labels has a name twice")
    return tuple(values)


def read_naming(folder: str | os.PathLike[str], count: int, labels: Sequence[str] = ()) -> Naming:
    """The naming of a model folder: its domains.yaml, over the labels of its config.json. Raises ConfigError."""
    path = Path(folder) / NAMES
    if not path.is_file():
        return Naming.plain(count, labels)
    require(path.stat().st_size <= LARGEST_FILE, f"{path} has more than {LARGEST_FILE:,} bytes")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Plain)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {yaml_reason(error)[:160]}") from error
    if values is None:
        return Naming.plain(count, labels)
    require(isinstance(values, dict), f"{path} holds {type(values).__name__}; expected lines of NAME: NUMBER")
    return Naming.of(values, count, where=str(path), labels=labels)


def write_naming(folder: str | os.PathLike[str], naming: Naming) -> None:
    """Write a model folder's domains.yaml. Where the user named nothing, the file is left as it is."""
    if text := naming.to_yaml():
        write_text_atomic(Path(folder) / NAMES, text)


def _check(name: Any, members: list[Any], count: int, taken: Mapping[int, str], where: str) -> None:
    fits = isinstance(name, str) and name.strip() == name and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    require(
        fits and not set(name) & set("/\\") and not name.startswith(".") and name not in RESERVED,
        f"{where}: {_brief(name)} is no name; expected up to {LONGEST_NAME} characters, in quotes where YAML reads "
        "something else, without / and \\, not beginning with a dot, and not 'all'",
    )
    require(bool(members), f"{where}: {name} names no domain; expected a number or a list of numbers")
    for number in members:
        domain = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < count
        require(domain, f"{where}: {name} is {_brief(number)}; expected domains from 0 to {count - 1}")
        require(number not in taken, f"{where}: domain {number} is both {taken.get(number)} and {name}")
    require(len(set(members)) == len(members), f"{where}: {name} names a domain twice")
    require(
        not name.isdecimal() or int(name) in members, f"{where}: {name!r} is another domain's number; choose a name"
    )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_NAME + 2 else f"{text[:LONGEST_NAME]}..."


class _Plain(yaml.SafeLoader):
    """SafeLoader without aliases, which make huge values of few bytes; a name given twice is an error."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
