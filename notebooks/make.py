"""Writes open_tunit.ipynb, which lies beside this file: python notebooks/make.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("open_tunit.ipynb")

CELLS = (
    (
        "markdown",
        """# Translate your own pictures, without labels

One folder of images, no labels: `tunit` sorts them into domains, learns each image's style, and redraws any picture in
the domain and style of any other. It is an implementation of [TUNIT](https://arxiv.org/abs/2006.06500) (ICCV 2021).

On Colab choose a GPU first: *Runtime*, *Change runtime type*.""",
    ),
    (
        "code",
        """# Where to clone open-tunit from; leave it empty if this notebook lies in a clone.
REPOSITORY = ""  # @param {type:"string"}

if REPOSITORY:
    !git clone --depth 1 {REPOSITORY} open-tunit
    %cd open-tunit
else:
    %cd ..
!pip install -q ".[eval,photos]"
""",
    ),
    (
        "markdown",
        """## At once

The model that comes along was trained on five kinds of cartoon heads and nothing else; of photographs it makes blurs.
For two pictures of your own, upload them and write their names here.""",
    ),
    (
        "code",
        """!tunit critters --out critters
from open_tunit import TUNIT

model = TUNIT.from_pretrained("critters")
display(model.translate("critters/cat/0.png", "critters/dog/0.png").resize((256, 256)))
""",
    ),
    (
        "markdown",
        """## Pictures

`critters:5` is a built-in set of cartoon heads. For your own, which get the preset `photos`, name a folder and
`SIZE = 64`: upload a zip and unpack it, or mount your Drive. A thousand pictures of one kind of thing, or more; the
bigger `SIZE`, the longer it takes.""",
    ),
    (
        "code",
        """DATA = "critters:5"  # @param {type:"string"}
DOMAINS = 5  # @param {type:"integer"}
SIZE = 32  # @param [32, 64, 128] {type:"raw"}
MINUTES = 10  # @param {type:"number"}
RUN = "runs/notebook"
""",
    ),
    (
        "markdown",
        """## Train

Run the cell again to go on after an interruption.""",
    ),
    (
        "code",
        """!tunit train --data {DATA} --out {RUN} --domains {DOMAINS} --size {SIZE} --minutes {MINUTES}
""",
    ),
    (
        "markdown",
        """## Look

Top row: references. Left column: sources. After the gap: each source in the typical style of each domain.""",
    ),
    (
        "code",
        """from pathlib import Path

from PIL import Image

newest = sorted(Path(RUN, "samples").glob("*.png"))[-1]
display(Image.open(newest))
""",
    ),
    ("markdown", "## Measure, on pictures that were not trained on"),
    (
        "code",
        """!tunit evaluate {RUN}
""",
    ),
    (
        "markdown",
        """## Translate

`SOURCE` and `REFERENCE` may be any two pictures; these two were held out.""",
    ),
    (
        "code",
        """from open_tunit import TUNIT

SOURCE, REFERENCE = f"{RUN}/report/pictures/0.png", f"{RUN}/report/pictures/1.png"
model = TUNIT.from_pretrained(f"{RUN}/model")
model.translate(SOURCE, REFERENCE).save("out.png")
for picture in (SOURCE, REFERENCE, "out.png"):
    display(Image.open(picture).resize((192, 192)))
print(model.domains([SOURCE, REFERENCE]))
""",
    ),
    ("markdown", "## Take the model with you"),
    (
        "code",
        """import shutil

print(shutil.make_archive("model", "zip", f"{RUN}/model"))
""",
    ),
)


def notebook() -> dict[str, Any]:
    """The notebook's JSON (nbformat 4.5)."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "accelerator": "GPU",
            "colab": {"provenance": []},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": [_cell(number, kind, text) for number, (kind, text) in enumerate(CELLS)],
    }


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number:02d}",
        "metadata": {},
        "source": text.rstrip("\n").splitlines(keepends=True),
    }
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell


def text() -> str:
    """The notebook's file."""
    return json.dumps(notebook(), indent=1) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(text(), encoding="utf-8")
