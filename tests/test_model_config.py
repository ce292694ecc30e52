"""model_config.py: config.json from strangers."""

from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from open_tunit.model_files.model_config import LARGEST_FILE, LONGEST_MESSAGE, read_model_config
from open_tunit.settings.config import FORMAT_VERSION, Model
from open_tunit.settings.conversion import ConfigError

GOOD: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "model": dataclasses.asdict(Model(size=32)),
    "fit": "pad",
    "background": "#102030",
    "about": {"step": 3, "data": {"name": "photos", "train": 20}},
}


def _written(folder: Path, text: str) -> Path:
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder / "config.json"


def test_a_good_one(tmp_path: Path) -> None:
    config = read_model_config(_written(tmp_path, json.dumps(GOOD)))
    assert config == (Model(size=32), "pad", "#102030", GOOD["about"], ())
    named = {**GOOD, "model": {**GOOD["model"], "domains": 2}, "labels": ["cat", "fox"]}
    assert read_model_config(_written(tmp_path, json.dumps(named))).labels == ("cat", "fox")


def _with_model(**values: Any) -> dict[str, Any]:
    return {**GOOD, "model": {**GOOD["model"], **values}}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({**GOOD, "fit": "stretch"}, "fit is 'stretch'"),
        ({**GOOD, "fit": ["pad"]}, "fit is"),
        ({**GOOD, "background": "mauvish"}, "background is 'mauvish'"),
        ({**GOOD, "background": 7}, "background is 7"),
        ({**GOOD, "about": []}, "about is list"),
        ({**GOOD, "about": {"step": "<script>"}}, "about.step"),
        ({**GOOD, "about": {"data": {"name": "x", "train": "many"}}}, "about.data.train"),
        ({**GOOD, "format_version": FORMAT_VERSION + 1}, "newer than"),
        ({**GOOD, "labels": "cat"}, "labels is 'cat'"),
        ({**GOOD, "labels": ["cat"]}, "labels has 1 names; expected one for each of 10 domains"),
        ({**GOOD, "labels": ["cat"] * 10}, "labels has a name twice"),
        ({**GOOD, "labels": [["cat"]] * 10}, "labels: ['cat'] is no name"),
        ({**GOOD, "labels": ["../cat", *map(str, range(1, 10))]}, "labels: '../cat' is no name"),
        (_with_model(domains=10**9), "model.domains is 1000000000; expected at most"),
        (_with_model(generator_width=10**6), "model.generator_width"),
        (_with_model(generator_blocks=10**6), "model.generator_blocks"),
        (_with_model(guiding_depths=[10**9, 1, 1, 1, 1]), "model.guiding_depths"),
        (_with_model(style_dim="8" * 10**5), "style_dim"),
        (_with_model(**{"x" * 10**5: 1}), "no setting"),
    ],
)
def test_values_out_of_bounds_are_named_in_a_short_line(tmp_path: Path, values: dict[str, Any], named: str) -> None:
    path = _written(tmp_path, json.dumps(values))
    with pytest.raises(ConfigError) as caught:
        read_model_config(path)
    assert str(caught.value).startswith(str(path))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= LONGEST_MESSAGE


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{here}: &{here} [{','.join([f'*{before}'] * 9)}]\n" for before, here in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [ALIASES + "model: *h\nfit: crop\nbackground: white\nformat_version: 1\n", "fit: crop", "[" * 100_000, "NaN", ""],
)
def test_it_is_json_and_nothing_more(tmp_path: Path, text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="JSON"):
        read_model_config(_written(tmp_path, text))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = _written(tmp_path, " " * LARGEST_FILE + json.dumps(GOOD))
    with pytest.raises(ConfigError, match=r"more than 1,048,576 bytes"):
        read_model_config(path)
