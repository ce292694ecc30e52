"""weights.py: model.safetensors from strangers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from open_tunit import TUNIT
from open_tunit.model_files.weights import ShapesOnly, read_weights
from open_tunit.settings.config import Model

EXPECTED = {"a": torch.zeros(2, 3, device="meta"), "n": torch.zeros(4, dtype=torch.int64, device="meta")}
GIVEN = {"a": torch.arange(6.0).view(2, 3), "n": torch.arange(4)}


def test_the_tensors_come_back(tmp_path: Path) -> None:
    for kind in (torch.float32, torch.float16):
        safetensors.torch.save_file({**GIVEN, "a": GIVEN["a"].to(kind)}, tmp_path / "w")
        found = read_weights(tmp_path / "w", EXPECTED)
        assert all(torch.equal(found[name].to(value), value) for name, value in GIVEN.items())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"a": GIVEN["a"]}, r"lacks n \(1 tensors missing, 0 unknown\)"),
        ({**GIVEN, "z": torch.zeros(1)}, "also has z"),
        ({**GIVEN, "a": torch.zeros(3, 2)}, r"a is \(3, 2\), expected \(2, 3\)"),
        ({**GIVEN, "a": torch.zeros(2, 3, dtype=torch.int64)}, "a is of type I64"),
        ({**GIVEN, "a": torch.zeros(10**5)}, "more than this model's weights"),
    ],
)
def test_other_tensors_are_refused_before_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, torch.Tensor], reason: str
) -> None:
    safetensors.torch.save_file(given, tmp_path / "w")
    monkeypatch.setattr(safetensors.torch, "load_file", lambda path: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=reason) as caught:
        read_weights(tmp_path / "w", EXPECTED)
    assert len(str(caught.value)) < 300


def test_tensors_that_may_be_missing(tmp_path: Path) -> None:
    optional = {"o": torch.zeros(100, device="meta")}
    for given in (GIVEN, {**GIVEN, "o": torch.ones(100)}):
        safetensors.torch.save_file(given, tmp_path / "w")
        assert read_weights(tmp_path / "w", EXPECTED, optional=optional).keys() == given.keys()
    safetensors.torch.save_file({**GIVEN, "o": torch.ones(99)}, tmp_path / "w")
    with pytest.raises(ValueError, match=r"o is \(99,\), expected \(100,\)"):
        read_weights(tmp_path / "w", EXPECTED, optional=optional)
    safetensors.torch.save_file({"o": torch.ones(100)}, tmp_path / "w")
    with pytest.raises(ValueError, match="lacks a"):
        read_weights(tmp_path / "w", EXPECTED, optional=optional)


def _header(values: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(values).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        _header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        _header({}, length=2**40),
        _header({str(number): {} for number in range(10**5)}),
        b"",
    ],
)
def test_headers_that_lie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match="is not this model's safetensors file"):
        read_weights(tmp_path / "w", EXPECTED)


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "w").write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3137560\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        read_weights(tmp_path / "w", EXPECTED)


def test_shapes_cost_neither_memory_nor_the_compilers_import() -> None:
    code = """
import resource, sys
from open_tunit import TUNIT
from open_tunit.settings.config import Model
from open_tunit.model_files.weights import ShapesOnly
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ShapesOnly():
    huge = TUNIT(Model(guiding_width=1024, generator_width=1024))
assert all(value.is_meta for name, value in huge.state_dict().items() if name.endswith("weight") and value.ndim > 1)
assert sum(value.numel() for value in huge.state_dict().values()) > 10**9
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
assert "torch._dynamo" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [32, 128])
def test_shapes_are_those_of_the_real_networks(size: int) -> None:
    shapes = Model(size=size, domains=3, guiding_width=4, generator_width=4, palette_dim=3, projection_dim=5)
    with ShapesOnly():
        empty = TUNIT(shapes).state_dict()
    real = TUNIT(shapes).state_dict()
    assert {name: value.shape for name, value in empty.items()} == {name: value.shape for name, value in real.items()}
