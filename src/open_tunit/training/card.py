"""The model card: what the model is, what it learned from, what it cost."""

from __future__ import annotations

from typing import Any

from open_tunit.config import Config


def model_card(config: Config, about: dict[str, Any]) -> str:
    """README.md of a model folder, from the run's config and the facts in `about`."""
    model, data = config.model, about["data"]
    return f"""---
library_name: open-tunit
tags: [image-to-image, unsupervised, tunit]
---
# {model.domains} domains at {model.size} px

An image-to-image model of [TUNIT](https://arxiv.org/abs/2006.06500) (Baek et al., ICCV 2021), trained with
open-tunit {about["version"]}: it sorts an image into one of {model.domains} domains and redraws any image in the
domain and style of any other.

```python
from open_tunit import TUNIT

model = TUNIT.from_pretrained("this/folder")
model.translate("source.jpg", "reference.jpg").save("out.png")
```

| | |
|---|---|
| preset | {config.preset_name}, seed {config.seed} |
| data | {data["train"]} training images from `{data["name"]}` |
| data fingerprint | `{data["fingerprint"]}` |
| supervision | {about["supervision"]} labelled |
| steps | {about["step"]} of {config.training.steps}, batch {config.training.batch} |
| cost | {about["seconds"] / 60:.1f} minutes on {about["device"]} |
| images per domain | {", ".join(map(str, about["domain_counts"]))} |

Domains and styles were found in these images alone; expect nothing sensible of pictures unlike them.
"""
